"""Ports for the servers of a job: two jobs on one node must not meet.

python -m infra.slurm.ports   # prints one
"""

from __future__ import annotations

import random
import socket

PORTS = range(20_000, 32_000)
"""Above the ports of Ray's workers, below those from which Linux gives one to whoever connects (32,768 and up)."""


def free_port() -> int:
    """A port of this machine that nobody listens at. Drawn at random, so that two jobs that ask at once get two."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                asked.bind(("", port))
            except OSError:
                continue
            return port


if __name__ == "__main__":
    print(free_port())
