"""Operators that add instructions and texts to pairs, from pools, from the source or by a vision-language model."""
