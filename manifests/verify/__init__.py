"""Checking every byte and row of datasets against what their manifests say. Nothing here repairs a file."""
