"""Small random checkpoints in the on-disk formats of the real ones, for MODELS=tiny and the tests."""
