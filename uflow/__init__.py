"""Unsupervised optical flow: the network, the losses and their swappable components.

Importing this package is cheap: MindSpore is loaded when a tensor is first needed (see `uflow.backend`).
"""

__version__ = "0.1.0"
