"""Reading datasets: SQL over manifests, near-duplicates. Nothing here changes a file."""
