"""What surrounds the engine: small checkpoints, benchmarks, examples, serving of models."""
