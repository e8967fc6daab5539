"""What a tracking store lacks, and how it catches up."""
