"""Hyper-parameter search: spaces, sampling, pruning."""
