"""Pairs on their way: what painters have made of the items of a unit, kept until the unit is committed.

    OUT/<task>/painted/<task>-000000/000017-4            item 17, after 4 links of the chain
    OUT/<task>/painted/<task>-000000/000018-rejected     item 18, which was rejected

A file appears whole or not at all. It begins with the sha256 of the rest: one line of JSON, which describes the pair,
and the bytes of its images. One that is damaged counts as not there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from manifests.dataset import Dataset
from manifests.schema import Candidate, Example, Image, Pair, Reject, Step
from pipelines.run.chain import Rejected, State

FOLDER = "painted"
"""The folder of a dataset directory that holds pairs on their way."""

_REJECTED = "rejected"
_DIGEST = 65  # hex digits of a sha256, and a newline


class Painted:
    """The items of one unit on their way."""

    def __init__(self, dataset: Dataset, unit: str) -> None:
        """Of the unit whose name is `unit`."""
        self._store = dataset.store
        self.folder = f"{FOLDER}/{unit}"

    def progress(self) -> dict[int, int | None]:
        """Item's place in the unit -> the links that it has gone through, or None if it was rejected. One listing."""
        found: dict[int, int | None] = {}
        for position, state in self._names():
            if state == _REJECTED:
                found[position] = None
            elif (there := found.get(position, 0)) is not None:
                found[position] = max(there, int(state))
        return found

    def get(self, position: int, progress: Mapping[int, int | None]) -> State | None:
        """An item's last state, by what `progress` has found; None if there is none that is whole."""
        if position not in progress:
            return None
        links = progress[position]
        name = self._name(position, links)
        try:
            data = self._store.read(name)
        except FileNotFoundError:
            return None
        try:
            return State(made=_decoded(data), links=links or 0)
        except (ValueError, KeyError, TypeError):
            with suppress(FileNotFoundError):
                self._store.remove(name)
            return None

    def put(self, position: int, made: Pair | Rejected, links: int) -> None:
        """Keep what an item has become after so many links."""
        name = self._name(position, None if isinstance(made, Rejected) else links)
        self._store.write_bytes(name, _encoded(made))

    def forgive(self, position: int) -> None:
        """Keep no longer that an item was rejected."""
        with suppress(FileNotFoundError):
            self._store.remove(self._name(position, None))

    def remove(self) -> None:
        """Remove all states of the unit, and whatever else lies beside them."""
        self._store.remove_folder(self.folder)

    def _names(self) -> Iterator[tuple[int, str]]:
        for name in self._store.names(self.folder):
            position, _, state = name.partition("-")
            if position.isdigit() and (state.isdigit() or state == _REJECTED):
                yield int(position), state

    def _name(self, position: int, links: int | None) -> str:
        return f"{self.folder}/{position:06d}-{_REJECTED if links is None else links}"


def _encoded(made: Pair | Rejected) -> bytes:
    images: list[bytes] = []

    def described(image: Image) -> dict[str, Any]:
        images.append(image.data)
        return {**vars(image), "data": len(image.data)}

    def candidates(of: Pair | Reject) -> list[dict[str, Any]]:
        return [{**vars(one), "image": described(one.image), "step": vars(one.step)} for one in of.candidates]

    if isinstance(made, Rejected):
        reject = made.reject
        record: dict[str, Any] = {
            "step": made.step,
            "reject": {"reason": reject.reason, "message": reject.message, "scores": reject.scores},
            "pictures": [described(picture) for picture in made.pictures],
            "candidates": candidates(reject),
        }
    else:
        record = {
            **vars(made),
            "images": [described(image) for image in made.images],
            "examples": [vars(example) for example in made.examples],
            "steps": [vars(step) for step in made.steps],
            "candidates": candidates(made),
        }
    # Not canonical_json: the order of scores is kept, and a score may be no number.
    body = b"\n".join([json.dumps(record).encode(), b"".join(images)])
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _decoded(data: bytes) -> Pair | Rejected:
    digest, body = data[:_DIGEST], data[_DIGEST:]
    if digest != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise ValueError("damaged")
    header, _, blobs = body.partition(b"\n")
    record, left = json.loads(header), io.BytesIO(blobs)

    def image(described: dict[str, Any]) -> Image:
        return Image(**{**described, "data": left.read(described["data"])})

    images = tuple(image(described) for described in record.get("images", record.get("pictures", ())))
    candidates = tuple(
        Candidate(**{**one, "image": image(one["image"]), "step": Step(**one["step"])}) for one in record["candidates"]
    )
    if "reject" in record:
        reject = Reject(**record["reject"], candidates=candidates)
        return Rejected(step=record["step"], reject=reject, pictures=images)
    return Pair(
        **{
            **record,
            "images": images,
            "examples": tuple(Example(**{**one, "inputs": tuple(one["inputs"])}) for one in record["examples"]),
            "steps": tuple(Step(**step) for step in record["steps"]),
            "parents": tuple(record["parents"]),
            "candidates": candidates,
        }
    )
