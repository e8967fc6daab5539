"""The words of `python -m studies.run`, and what it answers."""
