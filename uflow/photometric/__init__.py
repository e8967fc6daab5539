"""The photometric axis: how different is a frame from the other one, warped onto it? One component a module."""
