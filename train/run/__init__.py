"""A training run: configuration, optimizer, parallelism, checkpoints, the loop, and what it costs."""
