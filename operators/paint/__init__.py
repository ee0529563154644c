"""Operators that add pictures which models make. How the models are loaded lives in `operators.models`."""
