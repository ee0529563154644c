"""Writes one work unit: its tar, its rejects and its manifest, in the order that makes the manifest the commit."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import pyarrow as pa

from manifests.dataset import Commit, Dataset, Plan, write_table
from manifests.images.phash import phash
from manifests.images.pixels import NEW_IMAGE_FORMAT
from manifests.schema import MANIFEST, REJECTS, Candidate, Direction, Image, Item, Kind, Pair, Reject, canonical_json
from manifests.write import candidates, reject_pictures
from manifests.write.candidates import CandidateWriter
from manifests.write.reject_pictures import PictureWriter
from manifests.write.tar import TarWriter

ROW_GROUP_ROWS = 8_192  # scans 2-3 times faster than 1,024; the first page of a browser is not slower


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A pair whose bytes are in the shard: its images as manifest structs; those of `pair` carry no data any more."""

    pair: Pair
    images: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Context:
    """The in-context example of one example: another pair's same direction and kind."""

    pair: str
    method: str


class UnitWriter:
    """Collects a unit's pairs and rejects, then commits them. Use as `with UnitWriter.open(...) as writer`.

    `suffixes` maps a role to the ending of its members' names. It is one ending for a role in the whole dataset, the
    commonest of the source, so that every sample has the same fields; decoders look at the content, and the manifest
    records each file's true format.
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: Plan,
        unit: int,
        *,
        prototype_task: str,
        suffixes: Mapping[str, str],
        files: ExitStack,
    ) -> None:
        """Files that are written are open until `files` is closed. See `open`."""
        self._dataset, self._plan, self._unit = dataset, plan, unit
        self._name = plan.name(unit)
        self._prototype_task = prototype_task
        self._suffixes = suffixes
        self._files = files
        self._tar = TarWriter(self._open("shards"))
        self._candidates: CandidateWriter | None = None
        self._pictures: PictureWriter | None = None
        self._rejects: list[dict[str, Any]] = []
        self.stored: list[Stored] = []

    @classmethod
    @contextmanager
    def open(
        cls, dataset: Dataset, plan: Plan, unit: int, *, prototype_task: str, suffixes: Mapping[str, str]
    ) -> Iterator[UnitWriter]:
        """A writer whose shard appears under its name when the block ends; call `commit` after the block."""
        with ExitStack() as files:
            writer = cls(dataset, plan, unit, prototype_task=prototype_task, suffixes=suffixes, files=files)
            yield writer
            writer._tar.finish()
            for further in (writer._candidates, writer._pictures):
                if further:
                    further.finish()

    def add(self, pair: Pair) -> None:
        """Append a pair's images and its JSON to the shard.

        Raises Reject, before anything is written, for an image that cannot be decoded to its end: each is decoded for
        its perceptual hash, if no operator has done so before. Likewise for a text that UTF-8 has no bytes for.
        """
        assert pair.examples, f"{pair.key} has no example, so no manifest row would name it"
        examples = map(vars, pair.examples)
        try:
            sample = sample_json(self._plan.task, pair.source, pair.source_ref, pair.licence, examples)
            canonical_json([vars(step) for step in pair.steps]).encode()
        except UnicodeEncodeError as error:
            said = error.object[max(0, error.start - 20) : error.start + 20]
            raise Reject("unencodable", f"a text holds half of a surrogate pair: {said!a}") from None
        hashes = [_phash(image) for image in pair.images]
        images = []
        for image, hashed in zip(pair.images, hashes, strict=True):
            member = f"{pair.key}.{image.role}.{self._suffixes.get(image.role, NEW_IMAGE_FORMAT)}"
            images.append(
                {
                    "role": image.role,
                    "member": member,
                    "offset": self._tar.append(member, image.data),
                    "bytes": len(image.data),
                    "sha256": hashlib.sha256(image.data).hexdigest(),
                    "format": image.format,
                    "width_px": image.width_px,
                    "height_px": image.height_px,
                    "mode": image.mode,
                    "phash": hashed,
                }
            )
        self._tar.append(f"{pair.key}.json", sample)
        self._add_candidates(pair.source_ref, pair.candidates)
        images_without_data = tuple(replace(image, data=b"") for image in pair.images)
        without_data = replace(pair, images=images_without_data, candidates=())
        self.stored.append(Stored(pair=without_data, images=images))

    def reject(self, item: Item, source: str, operator: str, reject: Reject, pictures: Sequence[Image] = ()) -> None:
        """Add an item that is not kept. `pictures` are small ones, as `manifests.images.small` makes them."""
        self._add_candidates(item.ref, reject.candidates)
        self._rejects.append(
            {
                "task": self._plan.task,
                "source": source,
                "source_ref": item.ref,
                "files": list(item.files),
                "operator": operator,
                "reason": reject.reason,
                # What a model or a source said may have no bytes in UTF-8: half of a surrogate pair.
                "message": reject.message.encode(errors="backslashreplace").decode(),
                "scores": sorted(reject.scores.items()),
                "shard": f"{self._name}.tar",
                "pictures": self._with_pictures(pictures),
            }
        )

    def _open(self, folder: str) -> BinaryIO:
        """The unit's tar in a folder, which appears when `files` is closed."""
        return self._files.enter_context(self._dataset.store.write(f"{folder}/{self._name}.tar"))

    def _add_candidates(self, source_ref: str, pictures: Sequence[Candidate]) -> None:
        """Append candidates to a tar of their own, which is begun with the first."""
        if pictures:
            self._candidates = self._candidates or CandidateWriter(self._open(candidates.FOLDER))
            self._candidates.add(source_ref, pictures)

    def _with_pictures(self, pictures: Sequence[Image]) -> list[dict[str, Any]]:
        """Append the pictures of the next reject to a tar of their own, which is begun with the first."""
        if not pictures:
            return []
        self._pictures = self._pictures or PictureWriter(self._open(reject_pictures.FOLDER))
        return self._pictures.add(len(self._rejects), pictures)

    def commit(
        self, contexts: Mapping[tuple[str, Direction, Kind], Context], needing: int, missing: Mapping[str, int]
    ) -> Commit:
        """Write rejects and manifest. `contexts` maps (pair, direction, kind) to its in-context example.

        `needing` counts the examples that should have one; `missing` those that were not made, by what they wait for.
        """
        rejects = pa.Table.from_pylist(self._rejects, schema=REJECTS)
        rejects_bytes = write_table(self._dataset.store, f"rejects/{self._name}.parquet", rejects, {"unit": self._unit})
        rows = [row for stored in self.stored for row in self._rows(stored, contexts)]
        commit = Commit(
            unit=self._unit,
            fingerprint=self._plan.fingerprint,
            shard_bytes=self._tar.bytes,
            shard_sha256=self._tar.sha256,
            members=self._tar.members,
            rejects_sha256=hashlib.sha256(rejects_bytes).hexdigest(),
            pairs=len(self.stored),
            examples=Counter(f"{row['direction']} {row['kind']}" for row in rows),
            without_context=needing - len(contexts),
            rejects=Counter(row["reason"] for row in self._rejects),
            missing=missing,
        )
        write_table(
            self._dataset.store,
            f"manifest/{self._name}.parquet",
            pa.Table.from_pylist(rows, schema=MANIFEST),
            vars(commit),
            range(ROW_GROUP_ROWS, len(rows), ROW_GROUP_ROWS),
        )
        return commit

    def _rows(
        self, stored: Stored, contexts: Mapping[tuple[str, Direction, Kind], Context]
    ) -> Iterator[dict[str, Any]]:
        pair = stored.pair
        steps = [{**vars(step), "params": canonical_json(step.params)} for step in pair.steps]
        for example in pair.examples:
            context = contexts.get((pair.key, example.direction, example.kind))
            yield {
                "pair": pair.key,
                "task": self._plan.task,
                "prototype_task": self._prototype_task,
                "direction": example.direction,
                "kind": example.kind,
                "instruction": example.instruction,
                "inputs": list(example.inputs),
                "output": example.output,
                "text": example.text,
                "contexts": [{"pair": context.pair, "dataset": None, "score": None}] if context else [],
                "context_method": context.method if context else None,
                "shard": f"{self._name}.tar",
                "images": stored.images,
                "scores": sorted(pair.scores.items()),
                "source": pair.source,
                "source_ref": pair.source_ref,
                "source_group": pair.group,
                "licence": pair.licence,
                "parents": list(pair.parents),
                "steps": steps,
            }


def _phash(image: Image) -> str | None:
    try:
        return phash(image.data)
    except Reject as reject:
        raise Reject(reject.reason, f"{image.role}: {reject.message}") from None


def sample_json(task: str, source: str, source_ref: str, licence: str, examples: Iterable[Mapping[str, Any]]) -> bytes:
    """What a reader of the tar alone gets to know of a pair. Manifest rows serve as examples too.

    Always the same keys and types, so that loaders can infer them.
    """
    sample = {
        "task": task,
        "source": source,
        "source_ref": source_ref,
        "licence": licence,
        "examples": [
            {
                "direction": example["direction"],
                "kind": example["kind"],
                "inputs": list(example["inputs"]),
                "output": example["output"] or "",
                "instruction": example["instruction"],
                "text": example["text"] or "",
            }
            for example in examples
        ],
    }
    return canonical_json(sample).encode()
