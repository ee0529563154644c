"""The data contract: schema, dataset directories and their commit protocol, and all that reads or checks them. Knows
no task and no model.

    from manifests import Dataset
"""

from manifests.dataset import Dataset, DatasetError

__all__ = ["Dataset", "DatasetError"]
