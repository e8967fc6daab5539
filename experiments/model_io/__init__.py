"""Weights and graphs in the formats of other frameworks."""
