"""Operators that make the input of a pair from its target: degradations and edge maps, by algorithms or small
detectors; and those that annotate a photo with a map, by which it becomes a dense pair."""
