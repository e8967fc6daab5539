"""The flow network, its options and its inference."""
