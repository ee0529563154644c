"""Predictions over test sets: an image for each generate example of a dataset, or for each prompt of GenEval, as files
that `train.evaluate` scores. `xprompt predict` is its command."""
