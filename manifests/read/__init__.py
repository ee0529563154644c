"""Reading datasets: pairs, candidates, SQL over manifests, near-duplicates, what differs between two. Nothing here
changes a file."""
