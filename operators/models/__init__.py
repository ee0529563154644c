"""Models that operators run: where checkpoints are found, how networks are loaded and run in batches."""
