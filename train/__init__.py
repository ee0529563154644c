"""The trainer: token shards as a resumable stream of packed micro-batches, and FSDP2 over them.

tokens reads shards, corpus indexes datasets of them, shuffle and stream order them, packing fills micro-batches, loader
feeds them to a rank; config, parallel, optimizer, trainer, checkpoint and metrics train; estimate says what it costs.
"""
