"""The augmentation axis: what else is done to what the network sees? One component a module."""
