"""Operators that reject pairs: gates by size and scores, guards of evaluation sets, hold-outs. None adds an image or
text."""
