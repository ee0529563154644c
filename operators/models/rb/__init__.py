"""RB-Modulation on Stable Cascade (arXiv 2405.17401): parameters, optimal control, attention, and a whole picture."""
