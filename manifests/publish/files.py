"""The files of a dataset as its repository on a hub is to hold them, each with what vouches for it.

What dataset.json vouches for goes as it is: plan, shards, manifests and rejects, and beside them candidates and
pictures of rejects. The card is written for the hub, with pictures and how to open the shards there, so dataset.json
has its hash in the place of that of the local README.md: who downloads the repository can verify it. Tokens are of one
tokenizer and answers of one model: they stay.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from manifests.browse.contact_sheet import contact_sheet
from manifests.dataset import Commit, Dataset, DatasetError, Plan
from manifests.licences import told
from manifests.records import AGAIN
from manifests.tokens import token_folder, token_resolutions
from manifests.verify.dataset import verify
from manifests.write.candidates import FOLDER as CANDIDATES
from manifests.write.card import LICENCE_FILE, Contents
from manifests.write.finish import (
    Totals,
    as_written,
    card,
    description_sha256,
    licence_table,
    plan_entries,
    readme_sha256,
    shard_entry,
    with_readme,
)
from manifests.write.reject_pictures import FOLDER as PICTURES

CHECKSUMS, PREVIEW = "checksums.txt", "preview.png"

FOLDERS = ("shards", "manifest", "rejects", CANDIDATES, PICTURES)
"""The folders of a repository that are the dataset's alone: what else is in them is removed."""

_PREVIEW_PAIRS = 6
_CHUNK_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of the repository. `data` is its content if it is made for the repository, None if it is the dataset's
    own of the same name."""

    name: str
    size_bytes: int
    sha256: str
    """In hex digits: what dataset.json says of it, where it does."""
    data: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Publication:
    """A finished dataset as it is to be on a hub."""

    dataset: Dataset
    plan: Plan
    files: tuple[File, ...]
    """What is uploaded first, in this order: the plan first, by which the repository is known as ours."""
    last: tuple[File, ...]
    """What makes the dataset a finished one, with the card: uploaded last, together."""
    left: tuple[str, ...]
    """What of the directory stays where it is, in words."""

    @property
    def all(self) -> tuple[File, ...]:
        return (*self.files, *self.last)

    @property
    def header(self) -> str:
        """The YAML of the card."""
        (readme,) = (file for file in self.last if file.name == "README.md")
        assert readme.data is not None
        return readme.data.decode().split("---\n")[1]


def publication(dataset: Dataset, repository: str, *, whole: bool) -> Publication:
    """A finished dataset as the repository NAMESPACE/NAME is to hold it.

    What dataset.json says is held against the files: their sizes, and the hashes of all but the shards, which are
    hashed when they are uploaded (`intact`). With `whole` all that `verify` checks is checked.

    Raises DatasetError, one line, for a dataset that is unfinished or not what it says.
    """
    plan, description = dataset.plan(), dataset.description()
    if whole and (finding := next(iter(verify(dataset.url)), None)):
        raise DatasetError(f"{finding.file}: {finding.message} (xprompt verify {dataset.url} names all there is)")
    files, totals, contents = [_checked_plan(dataset, plan, description)], Totals(), Contents()
    entries = {str(entry.get("name")): entry for entry in description["shards"]}
    names = [plan.name(unit) for unit in range(plan.units)]
    if [*entries] != names or dataset.committed() != {*range(plan.units)}:
        raise DatasetError(f"{dataset.url}/dataset.json does not list the units that are there: {AGAIN}")
    for name in names:
        commit, manifest = dataset.commit(name), dataset.store.read(f"manifest/{name}.parquet")
        if entries[name] != shard_entry(name, commit, manifest):
            raise DatasetError(
                f"{dataset.url}/manifest/{name}.parquet is not what dataset.json says: {_verify(dataset)}"
            )
        totals.add(commit)
        contents.add(manifest)
        files += _unit_files(dataset, name, commit, manifest)
    for folder in (CANDIDATES, PICTURES):
        files += [_hashed(dataset, f"{folder}/{name}") for name in dataset.store.names(folder)]
    return Publication(
        dataset=dataset,
        plan=plan,
        files=tuple(files),
        last=tuple(_made(dataset, plan, description, totals, contents, repository, files)),
        left=tuple(_left(dataset)),
    )


def intact(dataset: Dataset, file: File) -> bytes:
    """The sha256 of a file that is to be uploaded, once its bytes are found to be what they should be.

    Raises DatasetError if they are not.
    """
    if file.data is not None or not file.name.startswith("shards/"):
        return bytes.fromhex(file.sha256)  # which was taken of its bytes
    digest = hashlib.sha256()
    with dataset.store.open(file.name) as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != file.sha256:
        raise DatasetError(f"{dataset.url}/{file.name} has other bytes than were committed: {_verify(dataset)}")
    return digest.digest()


def _checked_plan(dataset: Dataset, plan: Plan, description: dict[str, Any]) -> File:
    if description.get("sha256") != description_sha256(description):
        raise DatasetError(f"{dataset.url}/dataset.json is not what its sha256 says, it was edited: {_verify(dataset)}")
    data = dataset.store.read("plan.parquet")
    if any(description.get(key) != value for key, value in plan_entries(plan, data).items()):
        raise DatasetError(f"{dataset.url}/plan.parquet is not what dataset.json says: {_verify(dataset)}")
    try:
        if description.get("readme_sha256") != readme_sha256(dataset.store.read("README.md")):
            raise DatasetError(f"{dataset.url}/README.md is not what dataset.json says: {_verify(dataset)}")
    except FileNotFoundError:
        raise DatasetError(f"{dataset.url}/README.md is missing: {_verify(dataset)}") from None
    return File(name="plan.parquet", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _unit_files(dataset: Dataset, name: str, commit: Commit, manifest: bytes) -> Iterator[File]:
    shard, rejects = f"shards/{name}.tar", f"rejects/{name}.parquet"
    try:
        size, found = dataset.store.size(shard), _hashed(dataset, rejects)
    except FileNotFoundError as error:
        raise DatasetError(f"{dataset.url} lacks a file of {name}: {error}; {_verify(dataset)}") from None
    if size != commit.shard_bytes:
        raise DatasetError(
            f"{dataset.url}/{shard} has {size:,} bytes, and {commit.shard_bytes:,} were committed: {_verify(dataset)}"
        )
    if found.sha256 != commit.rejects_sha256:
        raise DatasetError(f"{dataset.url}/{rejects} has other bytes than were committed: {_verify(dataset)}")
    yield File(name=shard, size_bytes=size, sha256=commit.shard_sha256)
    yield File(name=f"manifest/{name}.parquet", size_bytes=len(manifest), sha256=hashlib.sha256(manifest).hexdigest())
    yield found


def _hashed(dataset: Dataset, name: str) -> File:
    digest, size = hashlib.sha256(), 0
    with dataset.store.open(name) as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return File(name=name, size_bytes=size, sha256=digest.hexdigest())


def _made(
    dataset: Dataset,
    plan: Plan,
    description: dict[str, Any],
    totals: Totals,
    contents: Contents,
    repository: str,
    files: list[File],
) -> Iterator[File]:
    """The files that are made for the repository; the checksums of all files come last."""
    licences: dict[str, str] = description["licences"]
    made = []
    with suppress(DatasetError):  # there is no pair to show
        made.append(_file(PREVIEW, contact_sheet(dataset.url, pairs=_PREVIEW_PAIRS)))
    terms = [
        "# Licences",
        "",
        "Each image is under the licence of its source, and under those of the models that made something of it.",
        "",
        *licence_table(licences),
        "",
        *told.table(told.merged(contents.licences)),
        "",
        told.FOOTNOTE,
        "",
    ]
    made.append(_file(LICENCE_FILE, "\n".join(terms).encode()))
    readme = card(plan, totals, contents, licences, _how_to_open(repository, has_preview=len(made) > 1)).encode()
    made.append(_file("README.md", readme))
    made.append(_file("dataset.json", as_written(with_readme(description, readme))))
    listed = sorted((*files, *made), key=lambda file: file.name)
    yield from made
    yield _file(CHECKSUMS, "".join(f"{file.sha256}  {file.name}\n" for file in listed).encode())


def _file(name: str, data: bytes) -> File:
    return File(name=name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), data=data)


def _how_to_open(repository: str, *, has_preview: bool) -> str:
    lines = [f"![Some of the pairs, inputs beside output]({PREVIEW})", ""] if has_preview else []
    quoted = json.dumps(repository)
    return "\n".join(
        [
            *lines,
            "```python",
            "from datasets import load_dataset",
            "",
            f"pairs = load_dataset({quoted}, streaming=True)  # the shards; their `json` has the examples of a pair",
            "```",
            "",
            "The manifests are Parquet, a row an example, for DuckDB, polars and pandas:",
            "",
            "```sql",
            f"SELECT direction, kind, count(*) FROM 'hf://datasets/{repository}/manifest/*.parquet' GROUP BY ALL;",
            "```",
            "",
            f"`sha256sum --check {CHECKSUMS}` checks a download, and `xprompt verify` what is in it.",
        ]
    )


def _left(dataset: Dataset) -> Iterator[str]:
    for folder in (*map(token_folder, token_resolutions(dataset)), "responses"):
        if there := len(dataset.store.names(folder)):
            yield f"{folder}/ ({there:,} {'entry' if there == 1 else 'entries'})"


def _verify(dataset: Dataset) -> str:
    return f"xprompt verify {dataset.url} says more"
