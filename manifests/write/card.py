"""The YAML at the head of a dataset card: what hubs show of a dataset, search it by, and open its shards with.

`datasets` takes the fields of a sample from the first five that it reads unless the card lists them. The card does, so
that a pair which lacks a role, and a role whose files have an ending that is not known as an image's, open too. All
configurations of a repository are read by the reader of the first, so a card of shards cannot offer the manifests as
Parquet as well (`load.py` of datasets 5.2, where `infer_module_for_data_files` is called once).
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from manifests.licences.effective import Parents, makers, parents
from manifests.parquet import ParquetFile

_LICENCES = ["licence", "source", "steps.list.element.operator", "steps.list.element.model"]

LICENCE_FILE = "LICENSE.md"
"""The file of a repository to which a card points whose licence the hub has no name for."""

_HUB_LICENCES = frozenset(
    [
        *("agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "c-uda", "cc0-1.0"),
        *("cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0"),
        *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0"),
        *("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0"),
        *("gpl-2.0", "gpl-3.0", "isc", "lgpl-3.0", "mit", "mpl-2.0", "odbl", "odc-by", "pddl", "unlicense", "zlib"),
    ]
)
"""Licences of data that the hub has a name for, which is SPDX's in lower case for those that have one:
https://huggingface.co/docs/hub/repositories-licenses."""

_SIZES = ((10**3, "1K"), (10**4, "10K"), (10**5, "100K"), (10**6, "1M"), (10**7, "10M"), (10**8, "100M"), (10**9, "1B"))
"""Bounds of the hub's size categories: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md."""

_NO_TEXT_IN_YAML = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
_NAME_CHARS = 80  # of a licence that the hub has no name for
_TEXTS = ("task", "source", "source_ref", "licence")
_TEXTS_OF_AN_EXAMPLE = ("direction", "kind", "output", "instruction", "text")


@dataclass(kw_only=True)
class Contents:
    """What the samples of a dataset hold, as far as its card tells: gathered from manifest files."""

    fields: dict[str, str] = field(default_factory=dict)
    """The field that an image of each role is in a sample: `input.png`."""
    makes_from_images: bool = False
    """Whether an image is made of others."""
    makes_from_text: bool = False
    """Whether an image is made of an instruction alone."""
    describes: bool = False
    licences: set[Parents] = field(default_factory=set)
    """The licences of the pairs: of each source as its files state, with those of all models that made something."""

    def add(self, manifest: bytes) -> None:
        """Look into a unit's manifest file."""
        for group in range((file := ParquetFile(io.BytesIO(manifest))).num_row_groups):
            table = file.read_row_group(group, columns=["kind", "inputs", "images.list.element.role"])
            roles = _flat(table, "role")
            if new := set(pc.unique(roles).to_pylist()) - self.fields.keys():
                members = _flat(file.read_row_group(group, columns=["images.list.element.member"]), "member")
                for role in new:  # whose ending is the same in every sample
                    self.fields[role] = members[pc.index(roles, role).as_py()].as_py().partition(".")[2]
            generates = pc.equal(table["kind"], "generate")
            from_text = pc.equal(pc.list_value_length(table["inputs"]), 0)
            self.makes_from_text |= bool(pc.any(pc.and_(generates, from_text)).as_py())
            self.makes_from_images |= bool(pc.any(pc.and_(generates, pc.invert(from_text))).as_py())
            self.describes |= bool(pc.any(pc.invert(generates)).as_py())
            self._add_licences(file.read_row_group(group, columns=_LICENCES))

    def _add_licences(self, table: pa.Table) -> None:
        stated = table.group_by(["licence", "source"]).aggregate([]).to_pylist()
        steps = pa.Table.from_struct_array(pc.list_flatten(table["steps"]))
        models = steps.group_by(["operator", "model"]).aggregate([]).to_pylist()
        made = makers((step["operator"], step["model"]) for step in models)
        self.licences |= {parents(one["licence"], one["source"], made) for one in stated}

    @property
    def categories(self) -> list[str]:
        """The hub's names for what the dataset is to learn from."""
        named = {
            "image-to-image": self.makes_from_images,
            "text-to-image": self.makes_from_text,
            "image-to-text": self.describes,
        }
        return [name for name, applies in named.items() if applies]


def header(
    task: str,
    split: str,
    contents: Contents,
    *,
    pairs: int,
    shard_bytes: int,
    licences: Mapping[str, str],
    has_licence_file: bool,
) -> Iterator[str]:
    """The lines of a card's YAML, between and with its `---`.

    `split` is the split of the source that the dataset is of, "" for one to train on; `licences` maps each source to
    its licence. With `has_licence_file` there will be a LICENCE_FILE beside the card.
    """
    name = split_name(split)
    yield "---"
    yield f"pretty_name: X-Prompt {task}"
    by_models = any(one.makers for one in contents.licences)
    yield from licence_lines(licences, by_models=by_models, has_licence_file=has_licence_file)
    yield from _listed("task_categories", contents.categories)
    yield from _listed("size_categories", [size_category(pairs)])
    yield from _listed("tags", [*dict.fromkeys(["x-prompt", "in-context-learning", "webdataset", task])])
    yield from ("configs:", "- config_name: default", "  data_files:", f"  - split: {name}", "    path: shards/*.tar")
    yield from ("dataset_info:", "- config_name: default", "  features:")
    for name_in_sample in sorted(contents.fields.values()):
        yield from _feature(2, name_in_sample, "dtype: image")
    yield from _feature(2, "json", "struct:")
    yield from _feature(4, "examples", "list:")
    for text in _TEXTS_OF_AN_EXAMPLE:
        yield from _feature(6, text, "dtype: string")
    yield from _feature(6, "inputs", "list: string")
    for text in _TEXTS:
        yield from _feature(4, text, "dtype: string")
    for text in ("__key__", "__url__"):
        yield from _feature(2, text, "dtype: string")
    yield from ("  splits:", f"  - name: {name}", f"    num_bytes: {shard_bytes}", f"    num_examples: {pairs}")
    yield from (f"  download_size: {shard_bytes}", f"  dataset_size: {shard_bytes}", "---")


def split_name(split: str) -> str:
    """The name of a dataset's split on a hub, where it has letters, digits, underscores and dots alone."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", split).strip("_") or "train"


def size_category(pairs: int) -> str:
    """The hub's name for so many pairs."""
    below = "n"
    for bound, name in _SIZES:
        if pairs < bound:
            return f"{below}<{name}" if below == "n" else f"{below}<n<{name}"
        below = name
    return f"n>{below}"


def licence_lines(licences: Mapping[str, str], *, by_models: bool, has_licence_file: bool) -> Iterator[str]:
    """The YAML of the licences of sources: the hub's names for them, or `other` with a name and a file.

    What models made in part (`by_models`) is under their licences too, so no name of a source's says what it is under.
    """
    stated = [*dict.fromkeys(licences.values())]
    named = [licence.lower() for licence in stated]
    if named and not by_models and all(licence in _HUB_LICENCES for licence in named):
        yield from [f"license: {named[0]}"] if len(named) == 1 else _listed("license", named)
        return
    yield "license: other"
    name = re.sub(r"[^a-z0-9.]+", "-", named[0])[:_NAME_CHARS].strip("-.") if len(named) == 1 else ""
    name = "as-its-sources-and-models-state" if by_models else name
    yield f"license_name: {name or 'as-its-sources-state'}"
    if has_licence_file:
        yield f"license_link: {LICENCE_FILE}"


def _flat(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A field of all images of a table, one behind the other."""
    return pc.struct_field(pc.list_flatten(table["images"]), name)


def _listed(key: str, values: list[str]) -> Iterator[str]:
    if values:
        yield f"{key}:"
        yield from (f"- {value}" for value in values)


def _feature(indent: int, name: str, kind: str) -> Iterator[str]:
    """A feature in YAML; a name that YAML could take for something else is quoted, as JSON quotes it."""
    plain = re.fullmatch(r"[a-z_][a-z0-9_.]*", name) and name not in _NO_TEXT_IN_YAML
    yield f"{' ' * indent}- name: {name if plain else json.dumps(name)}"
    yield f"{' ' * indent}  {kind}"
