"""Operators that make the input of a pair from its target: degradations and edge maps, by algorithms or small
detectors."""
