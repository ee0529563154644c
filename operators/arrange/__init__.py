"""Operators that rearrange the images a pair already has: swapped, coloured, with holes; and that derive
a mask from how these differ. No model runs here."""
