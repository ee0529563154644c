"""Datasets in buckets, by s3fs, against a local server that speaks S3 (moto) in a process of its own."""
