"""The paper's Tab. 4 in miniature, on a CPU: tasks, runs and report. `python -m train.icl` is its command."""
