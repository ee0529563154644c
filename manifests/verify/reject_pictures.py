"""Checks the folder `reject_pictures` of a dataset directory: its tars hold what the rejects name, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.images.pixels import read_header
from manifests.images.small import MOST_BYTES, SIDES_PX
from manifests.schema import REJECTS, Reject
from manifests.verify.unit import Problem, open_file, read_file, row_batches
from manifests.write.reject_pictures import FOLDER, SIDES, member_name
from manifests.write.tar import Damaged, Member, Walk

_Picture = Mapping[str, Any]
"""A struct of the rejects' column `pictures`."""


def picture_problems(dataset: Dataset, plan: Plan, committed: set[int]) -> Iterator[Problem]:
    """What is wrong with the pictures of the rejects of committed units."""
    there = set(dataset.store.names(FOLDER))
    for unit in sorted(committed):
        name = plan.name(unit)
        file = f"{FOLDER}/{name}.tar"
        rejects = f"rejects/{name}.parquet"
        way_out = f"remove manifest/{name}.parquet and run the same command again to write the unit anew"
        named: dict[str, _Picture] = {}
        try:
            for where, message in _gathered(dataset, plan, name, named):
                yield where, f"{message}; {way_out}"
        except (DatasetError, FileNotFoundError):
            continue  # `check_unit` says so
        if f"{name}.tar" not in there:
            if named:
                yield file, f"is missing, and {rejects} names {len(named):,} pictures in it; {way_out}"
            continue
        for message in _tar_problems(dataset, file, named):
            yield file, f"{message}; {way_out}"


def _gathered(dataset: Dataset, plan: Plan, name: str, named: dict[str, _Picture]) -> Iterator[Problem]:
    """Add what the rejects of a unit name to `named`, by member; what no picture of ours can be is told.

    Raises DatasetError if they cannot be read, FileNotFoundError if they are gone.
    """
    file = f"rejects/{name}.parquet"
    row = 0
    for batch in row_batches(read_file(dataset, file), REJECTS, ["shard", "pictures"], plan.items):
        for shard, pictures in zip(*batch.to_pydict().values(), strict=True):
            if shard not in (f"{name}.tar", ""):  # of version 2, which has no pictures either
                yield file, f"row {row} is of shard {shard!r}"
            for picture in pictures:
                member = str(picture["member"])
                if picture["side"] not in SIDES or member != member_name(row, picture["side"]) or member in named:
                    yield file, f"row {row} names a picture {member!r} of side {picture['side']!r}"
                elif not 0 < picture["bytes"] <= MOST_BYTES:
                    yield file, f"picture {member} has {picture['bytes']:,} bytes, and can have {MOST_BYTES:,} at most"
                elif not all(0 < picture[side] <= SIDES_PX[0] for side in ("width_px", "height_px")):
                    size = f"{picture['width_px']} x {picture['height_px']} px"
                    yield file, f"picture {member} has {size}, and can have {SIDES_PX[0]} at most"
                else:
                    named[member] = picture
            row += 1


def _tar_problems(dataset: Dataset, file: str, named: dict[str, _Picture]) -> Iterator[str]:
    """What is wrong with one unit's tar, of which `named` says what is in it. No picture is decoded."""
    left = dict(named)
    try:
        with open_file(dataset, file) as opened:
            for member in Walk(opened).members():
                picture = left.pop(member.name, None)
                if picture is None:
                    yield f"no reject names its member {member.name}"
                    return
                if (member.offset, member.bytes, member.sha256) != tuple(
                    picture[key] for key in ("offset", "bytes", "sha256")
                ):
                    yield f"picture {member.name} is not the one that the rejects name: it was changed"
                elif (found := _looks_like(dataset, file, member)) != (
                    wanted := ("webp", picture["width_px"], picture["height_px"])
                ):
                    yield f"picture {member.name} is {found}, and should be {wanted}"
    except DatasetError as error:
        yield str(error)
        return
    except Damaged as damage:
        yield f"{damage}, at byte {damage.offset:,}"
        return
    except FileNotFoundError:
        yield "is a link to nothing"
        return
    for gone in left:
        yield f"picture {gone} is missing"


def _looks_like(dataset: Dataset, file: str, member: Member) -> tuple[str, int, int]:
    """Format, width and height in px of a picture, as its header has them."""
    try:
        header = read_header(dataset.store.read(file, member.offset, member.bytes), SIDES_PX[0] ** 2)
    except Reject as reject:
        return reject.message, 0, 0
    return header.format, header.width_px, header.height_px
