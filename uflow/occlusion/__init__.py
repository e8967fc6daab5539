"""The occlusion axis: which pixels of a frame can be seen in the other one? One component a module."""
