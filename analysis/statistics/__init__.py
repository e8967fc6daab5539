"""Tests and intervals as functions of arrays."""
