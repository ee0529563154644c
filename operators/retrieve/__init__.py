"""Choosing in-context examples: seeded within a shard, or ranked of whole datasets, by instruction (paper section 3.3),
by image, or at random, with guards against leaks."""
