"""From the records of a study to comparisons and tables."""
