"""Readers of sources: one layout, bundled input or recipe of prompts a file; `tables/` has the formats of
tables of pairs. What makes a pair out of a photo lives in the other folders."""
