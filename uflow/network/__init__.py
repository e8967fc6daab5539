"""The network axis: what estimates the flow? One component a module, its cells in `uflow.models`."""
