"""Retrieval-Augmented Image Editing: the in-context example of an edit is the one with the nearest instruction.

Paper section 3.3: by cosine similarity of text features, excluding the pair itself. Section 4.3: at evaluation the
database is MagicBrush's training set alone. In training it may be several datasets, the dataset itself among them. Run
when all units of them are committed, since the nearest pair may be in any shard:

    xprompt contexts data/ultraedit
    xprompt contexts data/ultraedit --database data/ultraedit data/magicbrush
    xprompt contexts data/magicbrush-dev --database data/magicbrush --embedder clip --checkpoint ViT-B-32/

Datasets are told by where they lie and by their fingerprints, not by their tasks: MagicBrush's dev and training sets
are two of one task. No training data has an in-context example of a test split.

A pair is searched by the instruction of its forward generate example, or the next best that it has. All its examples
that have an input image then get the nearest pair that has an example of the same direction and kind. Running again
changes nothing, and heals what a crash has left half done.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.printing import say
from manifests.read.places import folder_of, place_from
from manifests.schema import CONTEXT
from manifests.verify.unit import EXAMPLES
from manifests.write.contexts import Contexts, finish_rewriting, needing, read_columns, write_contexts
from operators.base import NOTHING_KEPT
from operators.retrieve.distance import Distance, Ints
from operators.retrieve.embeddings import embed
from operators.retrieve.nearest import (
    EXACT_UP_TO,
    Choice,
    Members,
    Search,
    choose,
    collapse,
    ranks,
    search,
    without_shortlist,
)
from operators.shared.texts import ClipText, Embedder, MiniLM
from operators.slow import said_if_slow

_KIND = {kind: place for place, kind in enumerate(EXAMPLES)}
_SEARCHED_BY = [_KIND["forward", "generate"], _KIND["reverse", "generate"], *_KIND.values()]
"""By which example's instruction a pair is searched: the first that it has."""

_COLUMNS = ["pair", "direction", "kind", "instruction", "inputs", "source_group"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run found, in numbers. `recall` and `fallbacks` are those of `operators.retrieve.nearest`."""

    pairs: int
    texts: int
    """How many distinct instructions the dataset and the database have."""
    embedded: int
    """How many of these instructions had no stored vector and were embedded."""
    method: str
    recall: float
    fallbacks: int
    examples: int
    """How many examples now have a context."""
    without: int
    """How many examples with an input image have none, because there is no other pair for them."""
    contexts: int
    """How many distinct pairs are the context of an example."""
    embed_s: float
    search_s: float
    write_s: float

    def __str__(self) -> str:
        return (
            f"{self.pairs:,} pairs with {self.texts:,} distinct instructions, {self.embedded:,} of them embedded "
            f"in {self.embed_s:.1f} s\n"
            f"search: {self.method}, recall@1 {self.recall:.4f}, {self.fallbacks:,} compared with all, "
            f"{self.search_s:.1f} s\n"
            f"{self.examples:,} examples have an in-context example, {self.without:,} have none, {self.write_s:.1f} s\n"
            f"{self.contexts:,} pairs serve as one: {self.contexts / max(1, self.pairs):.1%} of the number of pairs"
        )


def method(embedder: Embedder) -> str:
    """How the contexts were chosen: the value of the manifest's column `context_method`."""
    return f"raie:{embedder.name}"


def assign_contexts(
    dataset: Dataset,
    plan: Plan,
    embedder: Embedder,
    *,
    databases: Sequence[Dataset] = (),
    not_same_source: bool = False,
    distance: Distance = Distance.COSINE,
    exact_up_to: int = EXACT_UP_TO,
) -> Report:
    """Make the nearest other pair the in-context example of every example with an input image.

    Pairs come from the `databases`, of which the dataset may be one; without any, from the dataset itself. Never from a
    pair with the same key, nor with `not_same_source` of the same source image. Raises DatasetError if one of them is
    not completely committed, if two are the same, or if contexts are chosen within groups.
    """
    started_s = time.perf_counter()
    pairs = _Pairs.of(dataset, plan)
    vectors, embedded = embed(dataset, embedder, pairs.texts)
    itself, others = _told_apart(dataset, plan, databases)
    offered = [_Offered(place=None, pairs=pairs, first_text=0)] if itself else []
    for place, other in others:
        there = _Offered(place=place, pairs=_Pairs.of(other, other.plan()), first_text=len(vectors))
        more, embedded_there = embed(other, embedder, there.pairs.texts)
        vectors, embedded = np.concatenate([vectors, more]), embedded + embedded_there
        offered.append(there)
    embedded_s = time.perf_counter()
    distinct, vector_of = collapse(vectors)
    found = (
        search(distinct, distance=distance, exact_up_to=exact_up_to)
        if itself
        else without_shortlist(distinct, distance)
    )
    queries, database = _members(pairs, offered, vector_of, not_same_source)
    chosen = _choose(found, pairs.needs, np.hstack([one.pairs.has for one in offered]), queries, database)
    searched_s = time.perf_counter()
    keys = pa.array([key for one in offered for key in one.pairs.keys], pa.string())
    places = pa.array([one.place for one in offered for _ in one.pairs.keys], pa.string())
    without = 0
    for part in pairs.parts:
        item = np.where(part.needs, chosen.item[part.kind, part.pair], -1)
        taken = pa.array(item[item >= 0])
        score = pa.array(chosen.score[part.kind, part.pair][item >= 0])
        nearest = pa.StructArray.from_arrays([keys.take(taken), places.take(taken), score], fields=[*CONTEXT.fields])
        ends = pa.array([0, *np.cumsum(item >= 0)], pa.int32())
        contexts = Contexts(ranked=pa.ListArray.from_arrays(ends, nearest), method=method(embedder))
        without += write_contexts(dataset, part.name, contexts).without_context
    finish_rewriting(dataset, plan)
    return Report(
        pairs=len(pairs.keys),
        texts=len(vectors),
        embedded=embedded,
        method=found.method,
        recall=found.recall,
        fallbacks=chosen.fallbacks,
        examples=int((chosen.item >= 0).sum()),
        without=without,
        contexts=len(np.unique(chosen.item[chosen.item >= 0])),
        embed_s=embedded_s - started_s,
        search_s=searched_s - embedded_s,
        write_s=time.perf_counter() - searched_s,
    )


def _told_apart(dataset: Dataset, plan: Plan, databases: Sequence[Dataset]) -> tuple[bool, list[tuple[str, Dataset]]]:
    """Whether pairs come from the dataset itself, and the others that they come from, each with its place.

    Raises DatasetError for a dataset that is named twice, for a copy of another, which has the same fingerprint, and
    for a test split as a database of data to train on.
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


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The rows of a unit's manifest: of which pair and kind each is, and whether it needs a context."""

    name: str
    pair: Ints
    kind: Ints
    needs: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """The pairs of a dataset in the order of its manifests."""

    keys: list[str]
    groups: list[str]
    texts: list[str]
    """Distinct instructions, in order of appearance."""
    text: Ints
    has: NDArray[np.bool_]
    """Kind x pair: which examples there are; of these, `needs` are those with an input image."""
    needs: NDArray[np.bool_]
    parts: list[_Part]

    @classmethod
    def of(cls, dataset: Dataset, plan: Plan) -> _Pairs:
        """The pairs of a dataset. Raises DatasetError if one of its units is not committed."""
        if len(dataset.committed()) < plan.units:
            raise DatasetError(f"{dataset.url} is unfinished: run the command that makes it again, then this one")
        tables = {name: _examples(dataset, plan, name) for name in map(plan.name, range(plan.units))}
        rows = pa.concat_tables(tables.values())
        pair = _numbered(rows["pair"])
        _, first = np.unique(pair, return_index=True)  # the first row of each pair
        has, needs = np.zeros((2, len(_KIND), len(first)), bool)
        kind = rows["place"].to_numpy()
        has[kind, pair] = True
        needs[kind, pair] = rows["needs"].to_numpy()
        instruction = rows["instruction"].take(pa.array(_searched_by(pair, kind, len(first))))
        text = _numbered(instruction)
        ends = np.cumsum([table.num_rows for table in tables.values()])[:-1]
        parts = zip(tables.items(), np.split(pair, ends), strict=True)
        return cls(
            keys=rows["pair"].take(pa.array(first)).to_pylist(),
            groups=rows["source_group"].take(pa.array(first)).to_pylist(),
            texts=instruction.unique().to_pylist(),
            text=text,
            has=has,
            needs=needs,
            parts=[
                _Part(name=name, pair=of, kind=table["place"].to_numpy(), needs=table["needs"].to_numpy())
                for (name, table), of in parts
            ],
        )


@dataclass(frozen=True, kw_only=True)
class _Offered:
    """Pairs of one of the datasets that contexts come from."""

    place: str | None
    """Where the dataset lies (manifests/read/places.py); None for the one that the contexts are for."""
    pairs: _Pairs
    first_text: int
    """Where the dataset's texts begin among all texts."""


def _examples(dataset: Dataset, plan: Plan, name: str) -> pa.Table:
    """The rows of a unit's manifest: examples, with their `place` in _KIND and whether each `needs` a context.

    Raises DatasetError for an example that is to have one and has no input image: what is asked for is said by the
    group that its context is of.
    """
    table = read_columns(dataset, name, _COLUMNS)
    kinds = zip(table["direction"].to_pylist(), table["kind"].to_pylist(), strict=True)
    place = pa.array([_KIND[kind] for kind in kinds], pa.int64())
    needs = needing(table, plan)
    if pc.any(pc.and_(needs, pc.equal(pc.list_value_length(table["inputs"]), 0))).as_py():
        raise DatasetError(f"{dataset.url}: its contexts are of the same group, a pose say, not of a near instruction")
    return (
        table.select(["pair", "instruction", "source_group"])
        .append_column("place", place)
        .append_column("needs", needs)
    )


def _numbered(values: pa.ChunkedArray) -> Ints:
    """Each value's number among the distinct ones, which are counted in order of appearance."""
    return np.asarray(pc.index_in(values, values.unique()).to_numpy(), np.int64)


def _searched_by(pair: Ints, kind: Ints, pairs: int) -> Ints:
    """For each pair the row whose instruction it is searched by."""
    row_of = np.full((len(_KIND), pairs), -1, np.int64)
    row_of[kind, pair] = np.arange(len(pair))
    by_preference = row_of[_SEARCHED_BY]
    chosen: Ints = by_preference[(by_preference >= 0).argmax(0), np.arange(pairs)]
    return chosen


def _members(
    pairs: _Pairs, offered: Sequence[_Offered], vector_of: Ints, not_same_source: bool
) -> tuple[Members, Members]:
    """The queries and the database: the offered pairs of all datasets, one after the other."""
    sides = [pairs, *(one.pairs for one in offered)]
    keys = ranks([key for side in sides for key in side.keys])
    groups = ranks([group for side in sides for group in side.groups]) if not_same_source else keys
    count = len(pairs.keys)
    vectors = np.concatenate([vector_of[one.pairs.text + one.first_text] for one in offered])
    return (
        Members(vector=vector_of[pairs.text], key=keys[:count], group=groups[:count]),
        Members(vector=vectors, key=keys[count:], group=groups[count:]),
    )


def _choose(
    found: Search, needs: NDArray[np.bool_], has: NDArray[np.bool_], queries: Members, database: Members
) -> Choice:
    """Kind x query: the nearest of the database that has an example of that kind, for those that need one.

    `needs` is kind x query, `has` kind x item of the database.
    """
    item, score = np.full(needs.shape, -1, np.int64), np.zeros(needs.shape)
    fallbacks = 0
    for kind in range(len(_KIND)):
        # Most datasets' pairs all have the same examples, and need the same.
        for done in range(kind):
            if (needs[done] == needs[kind]).all() and (has[done] == has[kind]).all():
                item[kind], score[kind] = item[done], score[done]
                break
        else:
            asking, offered = np.flatnonzero(needs[kind]), np.flatnonzero(has[kind])
            choice = choose(found, queries.at(asking), database.at(offered))
            there = choice.item >= 0
            item[kind, asking[there]] = offered[choice.item[there]]
            score[kind, asking] = choice.score
            fallbacks += choice.fallbacks
    return Choice(item=item, score=score, fallbacks=fallbacks)


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt contexts") -> int:
    """Assign the contexts of one dataset and print the report; `prog` heads usage and errors.

    Returns the exit status: 0, 2 with one line if it cannot do what was asked, or NOTHING_KEPT with one if no example
    has got a context.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Retrieve the in-context example of each edit of a dataset.",
    )
    parser.add_argument("dataset", help="a dataset directory with all its units, local or an fsspec URL")
    parser.add_argument(
        "--database",
        nargs="+",
        default=[],
        metavar="DIR",
        help="dataset directories from which the examples are to come (default: the dataset itself)",
    )
    parser.add_argument("--embedder", choices=["minilm", "clip"], default="minilm", help="(default: %(default)s)")
    parser.add_argument("--checkpoint", help="for clip: the folder of ViT-B/32's config and weights")
    parser.add_argument(
        "--device", default="cpu", help="where instructions are embedded: cpu or cuda (default: %(default)s)"
    )
    parser.add_argument(
        "--distance",
        type=Distance,
        choices=list(Distance),
        default=Distance.COSINE,
        help="how near two instructions are (default: cosine)",
    )
    parser.add_argument("--not-same-source", action="store_true", help="take no edit of the same source image")
    options = parser.parse_args(arguments)
    if (options.embedder == "clip") != bool(options.checkpoint):
        parser.error("--embedder clip and --checkpoint go together")
    dataset = Dataset(options.dataset)
    try:
        with said_if_slow(lambda text: say(f"{prog}: {text}", error=True), "retrieving contexts"):
            report = assign_contexts(
                dataset,
                dataset.plan(),
                ClipText(checkpoint=options.checkpoint, device=options.device)
                if options.checkpoint
                else MiniLM(device=options.device),
                databases=[Dataset(url) for url in options.database],
                not_same_source=options.not_same_source,
                distance=options.distance,
            )
    except (ValueError, OSError, ImportError) as error:
        say(f"{prog}: {' '.join(str(error).split())}", error=True)
        return 2
    print(report)
    if not report.examples:
        why = "there is no other pair for any of them" if report.without else "it has none that is to have one"
        say(f"{prog}: no example of {options.dataset} has an in-context example: {why}", error=True)
        return NOTHING_KEPT
    return 0
