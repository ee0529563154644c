"""The paper's Tab. 4 in miniature, on a CPU: tasks, runs and report. `xprompt icl` is its command."""
