"""Writing one unit of a dataset (tar, rejects, manifest) and what a finished dataset says of itself. What is read
back lives in `manifests.read`."""
