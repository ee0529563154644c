"""Training and evaluation from a dataset directory's manifests and tokens."""
