"""Runs in MLflow and Sacred, mirrored from their files."""
