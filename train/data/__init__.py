"""From token shards to batches: corpus, order, packing, loading. Knows no network."""
