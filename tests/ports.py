"""Ports for servers of tests that must be told theirs before they start."""

from __future__ import annotations

import random
import socket

PORTS = range(20_000, 32_000)
"""Above Ray's workers', below those from which Linux gives one to whoever connects or asks for any."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at, and that nobody is given unless they ask for it by its number."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as asked:
            asked.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                asked.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
