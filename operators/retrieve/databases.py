"""Which datasets the in-context examples of another may come from."""

from __future__ import annotations

from collections.abc import Sequence

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.read.places import folder_of, place_from
from operators.shared.palettes import UNSEEN_PALETTE


def told_apart(dataset: Dataset, plan: Plan, databases: Sequence[Dataset]) -> tuple[bool, list[tuple[str, Dataset]]]:
    """Whether pairs come from the dataset itself, and the others that they come from, each with its place.

    Raises DatasetError for a dataset that is named twice, for a copy of another, which has the same fingerprint, and
    for a test split as a database of other data than of that split.
    """
    if not databases:
        return True, []
    folders, fingerprints = [folder_of(dataset.url)], [plan.fingerprint]
    others = [one for one in databases if folder_of(one.url) != folders[0]]
    for one in others:
        other = one.plan()
        folder, fingerprint = folder_of(one.url), other.fingerprint
        if other.test_split and not plan.test_split:
            raise DatasetError(f"{one.url} is of the split {other.test_split}: no training data has examples of it")
        if other.test_split and other.test_split != plan.test_split:
            raise DatasetError(
                f"{one.url} is of the split {other.test_split}, and {dataset.url} of {plan.test_split}: neither has "
                "examples of the other"
            )
        if _unseen(other) and not (_unseen(plan) or plan.test_split):
            raise DatasetError(
                f"{one.url} is drawn in the palette {UNSEEN_PALETTE}, to evaluate on: no training data has examples of "
                "it"
            )
        if folder in folders:
            raise DatasetError(f"{one.url} is named twice: name each database once")
        if fingerprint in fingerprints:
            first = [dataset, *others][fingerprints.index(fingerprint)]
            raise DatasetError(f"{one.url} has the fingerprint of {first.url}: it is a copy, name one of the two")
        folders.append(folder)
        fingerprints.append(fingerprint)
    if len(databases) - len(others) > 1:
        raise DatasetError(f"{dataset.url} is named twice: name each database once")
    return len(others) < len(databases), [(place_from(dataset.url, one.url), one) for one in others]


def _unseen(plan: Plan) -> bool:
    return any(link.get("palette") == UNSEEN_PALETTE for link in plan.config.get("operators") or ())
