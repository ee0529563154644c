"""How many requests a run makes of a bucket that it writes its dataset to, which S3 charges for one by one.

The numbers are counted, not computed: tests/buckets/test_requests.py has a local S3 count those of real runs.
"""

from __future__ import annotations

from dataclasses import dataclass

PART_BYTES = 50 * 2**20
"""What s3fs uploads at once: a file of two parts or more takes a request a part, one to begin and one to end."""


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Numbers of requests, by what S3 charges for them."""

    writes: int = 0
    """PUT, POST and LIST."""
    reads: int = 0
    """GET and HEAD. A DELETE is free."""

    def __add__(self, other: Requests) -> Requests:
        return Requests(writes=self.writes + other.writes, reads=self.reads + other.reads)

    def __mul__(self, times: int) -> Requests:
        return Requests(writes=self.writes * times, reads=self.reads * times)

    @property
    def all(self) -> int:
        return self.writes + self.reads


UNIT = Requests(writes=4, reads=6)
"""Of a unit whose shard is uploaded at once. Writes: its shard, its rejects, its manifest, and a listing by which it is
found not to be there yet. Reads: whether its manifest is there (2 HEAD) and what it says (2 GET: its footer, its
record), and what the source's files were like when they were planned (HEAD, GET)."""

RUN = Requests(writes=38, reads=22)
"""Of a run beside its units: the plan, dataset.json, the card, the listings of a beginning and an end, the lease. What
grows with time or with workers is not in it: two every ten seconds for the lease, two a worker for the plan."""


def upload(size_bytes: float) -> int:
    """The requests that upload a file of so many bytes."""
    return 1 if size_bytes < 2 * PART_BYTES else 2 + -(-int(size_bytes) // PART_BYTES)


def run_requests(units: int, shard_bytes: float) -> Requests:
    """Those of a run of so many units, of which a shard has so many bytes. What painters and a vision-language model
    have in the bucket on its way is not counted: a file a picture and an answer."""
    return RUN + UNIT * units + Requests(writes=upload(shard_bytes) - 1) * units
