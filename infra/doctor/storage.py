"""OUT: whether it can be written, what it has room for, and what time its file system has."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from infra.doctor.asked import Asked
from infra.doctor.finding import Finding, fails, ok, skipped, warning
from infra.doctor.limits import Undoing
from infra.doctor.machine import nearest
from manifests.dataset import Dataset
from manifests.printing import size
from manifests.storage import Store
from pipelines.report.cost import sums
from pipelines.run.dataset import anchored
from pipelines.run.lock import BEAT_S, folder_for_now
from pipelines.run.plan import folder_name

PROBE = ".xprompt-doctor-"
"""How the names of files begin that are written to try a place."""

_FILES_A_UNIT = 4
"""A shard, its manifest, its rejects and their pictures (manifests/write/writer.py)."""

_REFUSED_SKEW_S = 900.0
"""S3 refuses requests of a clock that is 15 minutes off: RequestTimeTooSkewed of its list of error codes."""

_STEPS = {
    "NoCredentials": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, here and on all nodes",
    "Unable to locate credentials": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, here and on all "
    "nodes",
    "InvalidAccessKeyId": "there is no such key: look at AWS_ACCESS_KEY_ID",
    "Access Key Id you provided does not exist": "there is no such key: look at AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret is not the key's: look at AWS_SECRET_ACCESS_KEY",
    "signature we calculated does not match": "the secret is not the key's: look at AWS_SECRET_ACCESS_KEY",
    "RequestTimeTooSkewed": "set this machine's clock",
    "bucket does not exist": "make that bucket, or look at its name and at AWS_ENDPOINT_URL",
    "NoSuchBucket": "make that bucket, or look at its name and at AWS_ENDPOINT_URL",
    "EndpointConnectionError": "nothing answers there: look at the network and at AWS_ENDPOINT_URL",
    "Could not connect": "nothing answers there: look at the network and at AWS_ENDPOINT_URL",
    "ccess Denied": "allow s3:PutObject, s3:GetObject, s3:ListBucket and s3:DeleteObject below it to these credentials",
    "AccessDenied": "allow s3:PutObject, s3:GetObject, s3:ListBucket and s3:DeleteObject below it to these credentials",
    "Forbidden": "allow s3:PutObject, s3:GetObject, s3:ListBucket and s3:DeleteObject below it to these credentials",
    "pip install": "as it says",
}
"""What a store or its library says, in part, and what to do about it."""

_OF_A_FOLDER = "choose another OUT, or make it yours: the user that runs has to own it or have write access"


def out(asked: Asked, undoing: Undoing) -> Iterator[Finding]:
    """Write, read, list and remove a small file in OUT, as a run would; then compare its time with ours."""
    try:
        place = anchored(str(asked.values["out"]))
        store = Store(place)
    except (ValueError, ImportError, OSError) as error:
        yield fails("OUT", _line(error), way_out(error, local=False))
        return
    name = f"{PROBE}{uuid.uuid4().hex}"
    doing = "written to"
    try:
        with (
            folder_for_now(Path(store.root) if store.is_local else None),
            undoing.after(store.path(name), lambda: forget(store, name)),
        ):
            began_s = time.time()
            store.write_bytes(name, name.encode())
            ended_s = time.time()
            doing = "read in"
            same = store.read(name) == name.encode()
            doing = "listed in"
            listed = name in store.names("")
            time_s = store.fs.modified(store.path(name)).timestamp()
            doing = "removed from"
            store.remove(name)
    except (OSError, ValueError, ImportError) as error:
        why = error if store.is_local else _said_why(store, error)
        yield fails("OUT", f"nothing can be {doing} {place}: {_line(why)}", way_out(why, local=store.is_local))
        return
    if not same or not listed:
        what = "is not what was written" if not same else "is not in the list of files"
        yield fails("OUT", f"{place}: a file that was just written {what}", "choose an OUT on another file system")
        return
    yield ok("OUT", f"{place} can be written, read, listed and removed from")
    yield clock("clock", max(began_s - 1 - time_s, time_s - ended_s, 0.0), f"of the place of OUT, {place}")


def _said_why(store: Store, error: Exception) -> Exception:
    """The error of a bucket that says why: to the first request, which asks for headers alone, S3 says Forbidden."""
    if "Forbidden" not in str(error):
        return error
    try:
        store.names("")
    except (OSError, ValueError, ImportError) as listing:
        return listing
    return error


def forget(store: Store, name: str) -> None:
    """Remove a file that may not be there."""
    if store.exists(name):
        store.remove(name)


def clock(name: str, skew_s: float, whose: str) -> Finding:
    """How far another clock is from ours, at the least."""
    way = "set the clocks by NTP (timedatectl set-ntp true)"
    if skew_s > _REFUSED_SKEW_S:
        return fails(name, f"that {whose}, differs from ours by {skew_s:,.0f} s: buckets refuse over 900", way)
    if skew_s > BEAT_S:
        text = f"that {whose}, differs from ours by {skew_s:,.0f} s: two runs into one OUT may not see each other"
        return warning(name, text, way)
    return ok(name, f"that {whose}, agrees with ours")


def room(asked: Asked) -> Iterator[Finding]:
    """The disk and inodes at OUT, against what the plan says that the task needs."""
    try:
        place = anchored(str(asked.values["out"]))
    except ValueError:  # which is said of OUT
        return
    local = "://" not in place
    folder = nearest(Path(place)) if local else None
    usage = os.statvfs(folder) if folder else None
    there = f"{size(usage.f_bavail * usage.f_frsize)} free in {folder}" if usage else "a bucket"
    if not asked.task:
        if usage:
            yield ok("disk", there)
        return
    try:
        estimated = asked.estimated
    except (ValueError, OSError, ImportError) as error:
        yield fails("plan", _line(error), "as it says")
        return
    if estimated is None:
        yield skipped("disk", f"{there}; what {asked.name} needs is not known before its models are there")
        return
    share = _left(asked, place)
    of = sums(estimated, place)
    needed = (of.shard_bytes + of.table_bytes) * share
    bound = "about" if estimated.tried else "at most"
    text = f"{there}; {bound} {size(needed)} needed for {estimated.pairs:,} pairs"
    if share < 1:
        text += f", of which {1 - share:.0%} are made"
    other = "free some, choose another OUT, or make a part of it: --scale"
    if usage is None:
        yield ok("disk", text)
        return
    free = usage.f_bavail * usage.f_frsize
    if needed <= free:
        yield ok("disk", text)
    elif estimated.tried:
        yield fails("disk", text, other)
    else:
        yield warning("disk", text, other)
    files = round(estimated.shards * share * _FILES_A_UNIT)
    if not usage.f_files:  # as Btrfs says, which makes them as it needs them
        yield ok("inodes", f"{folder} has no fixed number of them")
    elif files > usage.f_favail:
        yield fails("inodes", f"{usage.f_favail:,} free in {folder}, and about {files:,} files are made", other)
    else:
        yield ok("inodes", f"{usage.f_favail:,} free; about {files:,} files are made")


def _left(asked: Asked, place: str) -> float:
    """Which share of the dataset is not made yet."""
    assert asked.task
    dataset = Dataset(f"{place}/{folder_name(asked.task, asked.source.reader)}")
    if not dataset.store.exists("plan.parquet"):
        return 1.0
    return 1 - len(dataset.committed()) / max(1, dataset.plan().units)


def way_out(error: BaseException, *, local: bool) -> str:
    """What to do about an error of OUT."""
    if local:
        return _OF_A_FOLDER
    said = f"{type(error.__cause__).__name__} {error}"
    return next((way for words, way in _STEPS.items() if words in said), "see what it says; OUT may be a folder too")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]
