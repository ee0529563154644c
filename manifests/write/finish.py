"""dataset.json and README.md: what a finished dataset directory says of itself.

Both depend on the plan and the committed units alone, so a rerun writes the same bytes: no times, no machine names.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from manifests.dataset import SEEN, Commit, Dataset, DatasetError, Plan
from manifests.licences import told
from manifests.records import version_of
from manifests.schema import canonical_json
from manifests.write.candidates import FOLDER as CANDIDATES
from manifests.write.card import Contents, header, split_name
from manifests.write.reject_pictures import FOLDER as PICTURES

_ABOUT = """\
A shard is a WebDataset tar: per pair one member a role (`<pair>.input.*`, `<pair>.target.*`), and `<pair>.json` with
its instructions. A member's ending is the commonest of its role in the source; the manifest's `format` says what each
file is. `manifest/` has one row per example: instruction, in-context example, scores, licence and provenance.
`rejects/` has one row per item that was not kept, with its reason; `reject_pictures/` small pictures of those that
gates rejected.
"""


@dataclass
class Totals:
    """The sums over committed units that reports print."""

    units: int = 0
    pairs: int = 0
    bytes: int = 0
    examples: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    without_context: int = 0

    def add(self, commit: Commit) -> None:
        self.units += 1
        self.pairs += commit.pairs
        self.bytes += commit.shard_bytes
        self.examples.update(commit.examples)
        self.rejects.update(commit.rejects)
        self.missing.update(commit.missing)
        self.without_context += commit.without_context

    def as_json(self) -> dict[str, Any]:
        return {
            "shards": self.units,
            "pairs": self.pairs,
            "examples": self.examples.total(),
            "examples_by_kind": dict(sorted(self.examples.items())),
            "examples_without_context": self.without_context,
            "examples_missing": dict(sorted(self.missing.items())),
            "rejects": self.rejects.total(),
            "rejects_by_reason": dict(sorted(self.rejects.items())),
            "shard_bytes": self.bytes,
        }


def sum_commits(dataset: Dataset) -> Totals:
    """The sums over what is committed."""
    totals = Totals()
    for _, commit in dataset.commits():
        totals.add(commit)
    return totals


def finish(dataset: Dataset, plan: Plan, *, versions: Mapping[str, str], licences: Mapping[str, str]) -> Totals:
    """Write README.md, then dataset.json, once every unit of the plan is committed.

    `versions` are those of the libraries that shape bytes; `licences` maps each source to its licence. Raises
    DatasetError if a dataset.json is there already and a unit is not what it says: what was edited or damaged since
    must not get a new hash that hides it.
    """
    totals, shards, contents = Totals(), [], Contents()
    described = dataset.description()["shards"] if dataset.store.exists("dataset.json") else []
    known = {entry["name"]: entry for entry in described}
    for name, commit in dataset.commits():
        totals.add(commit)
        manifest = dataset.store.read(f"manifest/{name}.parquet")
        shards.append(shard_entry(name, commit, manifest))
        if known.get(name) not in (None, shards[-1]):
            raise DatasetError(
                f"{dataset.url}/manifest/{name}.parquet is not what dataset.json says: edited since, or made with "
                "other library versions. Remove it and run the same command again to write it anew; if you mean to "
                "keep it, remove dataset.json."
            )
        contents.add(manifest)
    assert totals.units == plan.units, f"{totals.units} of {plan.units} units are committed"
    description = {
        **plan_entries(plan, dataset.store.read("plan.parquet")),
        "versions": dict(versions),
        "licences": dict(licences),
        "totals": totals.as_json(),
        "shards": shards,
    }
    readme = card(plan, totals, contents, licences).encode()
    description = with_readme(description, readme)
    dataset.store.write_bytes("README.md", readme)
    dataset.store.write_bytes("dataset.json", as_written(description))
    with suppress(FileNotFoundError):
        dataset.store.remove(SEEN)
    responses = [f"responses/{name}" for name in dataset.store.names("responses")]
    for folder in ("", "shards", "rejects", "manifest", CANDIDATES, PICTURES, *responses):
        dataset.store.remove_temporary(folder)
    return totals


def with_readme(description: Mapping[str, Any], readme: bytes) -> dict[str, Any]:
    """What dataset.json says beside a README.md: with the hash of that, and then its own."""
    said = {**description, "readme_sha256": readme_sha256(readme)}
    return {**said, "sha256": description_sha256(said)}


def description_sha256(description: Mapping[str, Any]) -> str:
    """The sha256, in hex digits, of all that dataset.json says but this: of its canonical JSON."""
    said = {key: value for key, value in description.items() if key != "sha256"}
    return hashlib.sha256(canonical_json(said).encode()).hexdigest()


def readme_sha256(readme: bytes) -> str:
    """The sha256 of README.md that dataset.json holds, in hex digits."""
    return hashlib.sha256(readme).hexdigest()


def as_written(description: Mapping[str, Any]) -> bytes:
    """The bytes of dataset.json."""
    return (json.dumps(description, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def plan_entries(plan: Plan, file: bytes) -> dict[str, Any]:
    """What dataset.json says of the plan. `file` is plan.parquet."""
    return {
        "schema_version": version_of(file),
        "task": plan.task,
        "fingerprint": plan.fingerprint,
        "config": plan.config,
        "plan_sha256": hashlib.sha256(file).hexdigest(),
    }


def shard_entry(name: str, commit: Commit, manifest: bytes) -> dict[str, Any]:
    """What dataset.json says of a unit. `manifest` is its manifest file."""
    return {
        "name": name,
        "bytes": commit.shard_bytes,
        "sha256": commit.shard_sha256,
        "members": commit.members,
        "pairs": commit.pairs,
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
        "rejects_sha256": commit.rejects_sha256,
    }


def card(plan: Plan, totals: Totals, contents: Contents, licences: Mapping[str, str], published: str = "") -> str:
    """The dataset card, with the YAML header that dataset hubs read.

    `published` is what the card of a repository says besides; it has a licence file too (manifests/write/card.py).
    """
    split = plan.test_split
    what = f"pairs of the split {split}, for evaluation alone" if split else "in-context training pairs"
    lines = [
        *header(
            plan.task,
            split,
            contents,
            pairs=totals.pairs,
            shard_bytes=totals.bytes,
            licences=licences,
            has_licence_file=bool(published),
        ),
        "",
        f"# {plan.task}: {what}",
        "",
        f"{totals.pairs:,} pairs, {totals.examples.total():,} examples, {totals.bytes / 2**20:,.1f} MiB in "
        f"{totals.units:,} shards. {totals.rejects.total():,} items were rejected.",
        "",
        *_made_again(plan),
        *_derived(plan),
        *([published, ""] if published else []),
        "| split | pairs | shards |",
        "|---|---|---|",
        f"| {split_name(split)} | {totals.pairs:,} | {totals.units:,} |",
        "",
        "| examples | count |",
        "|---|---|",
        *(f"| {kind} | {count:,} |" for kind, count in sorted(totals.examples.items())),
        *(f"| not made: {reason} | {count:,} |" for reason, count in sorted(totals.missing.items())),
        "",
        *licence_table(licences),
    ]
    if totals.pairs:
        lines += [
            "",
            *told.table(told.merged(contents.licences)),
            "",
            f"{told.FOOTNOTE} The view `terms` of `xprompt sql` says it of each pair.",
        ]
    if totals.rejects:
        lines += ["", "| rejected because | items |", "|---|---|"]
        lines += [f"| {reason} | {count:,} |" for reason, count in sorted(totals.rejects.items())]
    lines += ["", _ABOUT, f"Fingerprint `{plan.fingerprint}`.", ""]
    return "\n".join(lines)


def _made_again(plan: Plan) -> list[str]:
    """Of which dataset's rejects the dataset was made, if it was."""
    parent = plan.config.get("retry_of")
    if not isinstance(parent, dict):
        return []
    reasons = ", ".join(map(str, parent.get("reasons", ())))
    return [f"Made again of what `{parent.get('dataset')}` ({parent.get('fingerprint')}) rejected: {reasons}.", ""]


def _derived(plan: Plan) -> list[str]:
    """Of which dataset's pairs some were chosen, and how, if they were (manifests/choose/derive.py)."""
    parent = plan.config.get("derived_from")
    if not isinstance(parent, dict):
        return []
    decisions, sql = parent.get("decisions_sha256"), parent.get("sql")
    by = [
        *([f"decisions of reviewers (sha256 `{decisions}`)"] if decisions else []),
        *(["the SQL that dataset.json has"] if sql else []),
    ]
    said = f"Derived from `{parent.get('dataset')}` (sha256 of its dataset.json `{parent.get('dataset_json_sha256')}`)"
    return [f"{said}{' by ' if by else ''}{' and '.join(by)}.", ""]


def licence_table(licences: Mapping[str, str]) -> list[str]:
    """The lines of a table in Markdown: each source with its licence."""
    return [
        "| source | licence |",
        "|---|---|",
        *(f"| {source} | {text} |" for source, text in sorted(licences.items())),
    ]
