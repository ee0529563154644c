"""The engine: the plan of a run, its work units, and the Ray that makes them.

`dataset.py` makes datasets from start to end; `engine.py` is its loop, which asks `schedule.py` who paints what and
`cluster.py` what there is to paint with. What workers do is in `unit.py` (whole units) and `painter.py` (pairs).
"""
