"""Training from the token shards of dataset directories, and evaluation by their manifests.

tokens reads shards, corpus indexes datasets of them, shuffle and stream order them, packing fills micro-batches, loader
feeds them to a rank; config, parallel, optimizer, trainer, checkpoint and metrics train; estimate says what it costs.
fsdp_train is the entry point.
"""
