"""Scoring predictions against datasets: restoration, dense prediction, editing, GenEval. `xprompt evaluate`
is its command."""
