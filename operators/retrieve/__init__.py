"""Choosing in-context examples: seeded within a shard, or by the nearest instruction of the whole dataset (paper
section 3.3)."""
