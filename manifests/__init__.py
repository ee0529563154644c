"""The data contract: schema, dataset directories and their commit protocol, and all that reads or checks them. Knows
no task and no model. What all packages share is here too: how lines are printed (printing.py, log.py), and the table of
metrics (metrics.py).

    from manifests import Dataset
"""

from manifests.dataset import Dataset, DatasetError

__all__ = ["Dataset", "DatasetError"]
