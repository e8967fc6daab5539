"""Tensor functions: geometry, robust penalties, precision, parallel sums."""
