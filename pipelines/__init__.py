"""Task and source records, and the engine that turns a task into a Ray Data job over work units.

python -m pipelines plan derain        what a run would make and cost
python -m pipelines shards derain      make it
"""
