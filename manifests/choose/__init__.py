"""Choosing pairs: what reviewers decide of them, how far they agree, and the datasets that are derived from it."""
