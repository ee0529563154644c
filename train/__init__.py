"""The trainer of the model, its evaluation, and the in-context experiment in miniature."""
