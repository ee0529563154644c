"""Reads a fixed choice of edits that add or remove an object from a large edit dataset, to evaluate on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow.parquet as pq

from manifests.schema import Item, seed_for
from operators.judge.edit_rules import RuleClassifier
from operators.read.files import SourceFile
from operators.read.hub_parquet import HubParquet
from operators.read.parquet import in_footers


@dataclass(frozen=True, kw_only=True)
class ChosenEdits(HubParquet):
    """The first `count` rows, in an order drawn by `seed`, whose instruction adds or removes an object by the rules of
    operators/judge/edit_rules.py.

    Which rows these are depends on the names and the content of the files alone: with all of them there, everybody
    evaluates on the same list.
    """

    version: ClassVar[int] = 2
    of_files: int
    """How many files there are to choose from: with fewer the list would be another one."""
    count: int
    seed: int = 0
    rules: RuleClassifier = field(default_factory=RuleClassifier)

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        """The chosen rows, by file and row. Raises ValueError if a file is missing, or a column."""
        items = list(super().items(listing))
        names = list(dict.fromkeys(item.files[0] for item in items))
        if len(names) != self.of_files:
            raise ValueError(
                f"DATA: {self.root} has {len(names)} of the {self.of_files} files {self.files} that the list of "
                f"{self.source} is chosen from: download the others, so that it is the same list everywhere"
            )
        said = dict(zip(names, in_footers(self._instructions, self.root, names), strict=True))
        chosen: list[Item] = []
        for item in sorted(items, key=lambda item: (seed_for(self.seed, item.ref), item.ref)):
            if len(chosen) < self.count and self.rules(said[item.files[0]][item.index] or "") != "other":
                chosen.append(item)
        yield from sorted(chosen, key=lambda item: (item.files, item.index))

    def _instructions(self, file: pq.ParquetFile) -> Sequence[str | None]:
        column = dict(self.texts)["instruction"]
        texts: list[str | None] = file.read(columns=[column]).column(column).to_pylist()
        return texts
