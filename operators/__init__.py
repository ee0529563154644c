"""One operator or one source reader a file: what turns source items into pairs and adds examples to them.

A reader has `items()` (planning: cheap, no pixels) and `read(item)` (on a worker) and raises `Reject` for an item
that cannot become a pair. An operator is a frozen dataclass whose fields are its parameters, called with a pair and a
seed; it returns the pair with something added, or raises `Reject`. See `operators/base.py`.
"""
