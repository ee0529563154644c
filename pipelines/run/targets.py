"""Tells Prometheus where a Ray of our own serves its metrics, by a file of targets that the run's end removes.

A cluster's dashboard writes such a file itself, prom_metrics_service_discovery.json; a Ray of our own has no dashboard.
Ours lies beside it, one a run, so that two runs on one machine do not take each other's place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ray

_NAME = "xprompt_metrics_{pid}.json"


@contextmanager
def announced(say: Callable[[str], None]) -> Iterator[None]:
    """Name this machine's Ray in RAY_TMPDIR/ray/xprompt_metrics_PID.json until the block ends.

    Files of runs that were killed are removed. `say` is told, one line, where the file cannot be written: the run goes
    on without.
    """
    folder = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray")
    file = folder / _NAME.format(pid=os.getpid())
    targets = [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]
    try:
        _remove_left(folder)
        new = file.with_suffix(".new")
        new.write_text(json.dumps([{"labels": {"job": "xprompt-engine"}, "targets": targets}]))
        new.rename(file)
    except OSError as error:
        say(f"Prometheus cannot be told of this run's metrics: {error}")
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _remove_left(folder: Path) -> None:
    for file in folder.glob(_NAME.format(pid="*")):
        pid = file.stem.rpartition("_")[2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except (ValueError, PermissionError):  # somebody else's
            continue
