"""Scoring predictions against datasets: restoration, dense prediction, editing, GenEval. `python -m train.evaluate`
is its command."""
