"""Operators that rearrange the images a pair already has: swapped, coloured, with holes. No model runs here."""
