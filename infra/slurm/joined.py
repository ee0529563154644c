"""Waits until a Ray cluster has so many nodes, and prints how many it has then, or after so many seconds.

    python -m infra.slurm.joined 10.0.0.1:23456 4 300

It is a process of its own because Ray ends the process whose cluster is gone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

_LOOK_EVERY_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    address, wanted, seconds = sys.argv[1:] if arguments is None else arguments
    client = GcsClient(address=address)
    deadline_s = time.monotonic() + float(seconds)
    while (there := _alive(client)) < int(wanted) and time.monotonic() < deadline_s:
        time.sleep(_LOOK_EVERY_S)
    print(there)
    return 0


def _alive(client: Any) -> int:
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    return sum(node.state == GcsNodeInfo.ALIVE for node in client.get_all_node_info().values())


if __name__ == "__main__":
    sys.exit(main())
