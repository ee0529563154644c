"""Gives every example of a dataset k ranked in-context examples: the command `xprompt contexts`.

    xprompt contexts data/ultraedit                                       the nearest instruction (paper section 3.3)
    xprompt contexts data/derain --k 4 --by image                         four, each with an input that looks alike
    xprompt contexts data/ultraedit data/magicbrush --k 4                 both, each with examples of either
    xprompt contexts data/ultraedit --database data/ultraedit data/magicbrush --k 4
    xprompt contexts data/magicbrush-dev --database data/magicbrush --embedder clip --checkpoint ViT-B-32/
    xprompt contexts data/edits --k 4 --guard evaluation.parquet          and none with an image of an evaluation set

They come from all shards of all the datasets that are given them, or of the databases that are named. So the command
runs when all units are committed. An in-context example has the direction and the kind of the example that it is for,
and as many input images.

What would give an answer away is never chosen, whatever is asked for: see `operators.retrieve.leaks`. No data to train
on has in-context examples of a test split, of a novel task that it holds out (operators/judge/hold_out.py), or with an
image of an evaluation set, where a guard file names some. What is left out is counted. Where too little is left the
list is shorter.

Pairs are compared by the instruction or the input images of their forward generate example, or the next best that they
have: what a model that is asked has too; never by the target. All examples of a pair then get the nearest pairs that
have an example of their direction and kind. Datasets are told by where they lie and by their fingerprints, not by their
tasks. Equally near pairs are taken in order of their keys. Neither the order of shards nor that of the databases
matters. Running again changes nothing, and heals what a crash has left half done.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from manifests.dataset import Dataset, DatasetError, Plan
from manifests.images.evaluation import read_guard, read_guard_file
from manifests.images.near import near_any
from manifests.images.phash import MIRRORED, as_integer
from manifests.printing import say
from manifests.schema import CONTEXT, NOTHING_KEPT, seed_for
from manifests.write.contexts import Contexts, finish_rewriting, write_contexts
from operators.judge.edit_rules import RuleClassifier
from operators.judge.hold_out import EDITS, concerned
from operators.retrieve.databases import told_apart
from operators.retrieve.distance import Distance, Floats, Ints
from operators.retrieve.drawn import draw
from operators.retrieve.embeddings import embed, embed_images
from operators.retrieve.images import ClipImage, ImageFileEmbedder, Layout
from operators.retrieve.leaks import NEAR_BITS, Guards, Leak, Traits, numbered
from operators.retrieve.pairs import KINDS, Pairs
from operators.retrieve.ranked import EXACT_UP_TO, Items, Ranked, collapse, rank
from operators.shared.texts import ClipText, Embedder, MiniLM, Vectors
from operators.slow import said_if_slow

MOST = 16
"""How many in-context examples an example may be given. Far more than fit any context window: one of two 512 px images
has 2,048 tokens."""

DIVERSITY = 0.3
"""The weight of being unlike those taken before: 1 less the 0.7 that Carbonell and Goldstein give to relevance where
what is sought is known (SIGIR 1998)."""


class By(StrEnum):
    """What in-context examples are chosen by."""

    INSTRUCTION = "instruction"
    """The nearest instructions (paper section 3.3)."""
    IMAGE = "image"
    """The most alike input images."""
    BOTH = "both"
    """The mean of the two similarities."""
    SEEDED = "seeded"
    """At random, by the example's own seed."""
    GROUP = "group"
    """At random among the pairs of its style, pose or sub-task."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run found, in numbers. `recall` and `fallbacks` are those of `operators.retrieve.ranked`."""

    pairs: int
    texts: int
    """How many distinct instructions all datasets have."""
    k: int
    embedded: int
    """How many texts and images had no stored vector and were embedded."""
    method: str
    recall: float
    fallbacks: int
    sizes: dict[int, int]
    """How many examples that are to have in-context examples have how many."""
    contexts: int
    """How many distinct pairs serve as one."""
    commonest: int
    """How many examples have the one that is used most."""
    likeness: float | None
    """The mean similarity of two in-context examples of one pair; None if vectors play no part, or none has two."""
    left_out: dict[str, int]
    """How many pairs no example may have, by why."""
    passed: dict[str, int]
    """How many times a pair was near enough, or drawn, and left out, by why."""
    embed_s: float
    search_s: float
    write_s: float

    @property
    def examples(self) -> int:
        """How many examples have in-context examples."""
        return sum(count for size, count in self.sizes.items() if size)

    @property
    def without(self) -> int:
        """How many examples are to have some and have none, because nothing is left for them."""
        return self.sizes.get(0, 0)

    def __str__(self) -> str:
        whole = self.sizes.get(self.k, 0)
        used = sum(size * count for size, count in self.sizes.items())
        alike = "" if self.likeness is None else f"; two of an example's are {self.likeness:.3f} alike on average"
        return (
            f"{self.pairs:,} pairs with {self.texts:,} distinct instructions, {self.embedded:,} texts and images "
            f"embedded in {self.embed_s:.1f} s\n"
            f"search: {self.method}, recall {self.recall:.4f}, {self.fallbacks:,} compared with all, "
            f"{self.search_s:.1f} s\n"
            f"{self.examples:,} examples have an in-context example, {self.without:,} have none, {self.write_s:.1f} s; "
            f"{whole:,} have {self.k}, {self.examples - whole:,} fewer\n"
            f"{self.contexts:,} pairs serve as one: {self.contexts / max(1, self.pairs):.1%} of the number of pairs, "
            f"the commonest {self.commonest / max(1, used):.2%} of the time{alike}\n"
            f"left out for all: {_counted(self.left_out)}; for one: {_counted(self.passed)}"
        )


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {why}" for why, count in counts.items() if count) or "none"


_WHY = {
    Leak.ITSELF: "the pair itself",
    Leak.GROUP: "of its original picture",
    Leak.COPY: "a copy of it",
    Leak.NEAR: f"a near-duplicate ({NEAR_BITS} bits)",
}


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """How in-context examples are chosen. The defaults are the paper's, and take no copy of an answer."""

    k: int = 1
    by: By = By.INSTRUCTION
    diversity: float = DIVERSITY
    distance: Distance = Distance.COSINE
    texts: Embedder = field(default_factory=MiniLM)
    images: ImageFileEmbedder = field(default_factory=Layout)
    guards: Guards = Guards.ALL
    guard: str | None = None
    """A guard file, as `xprompt hashes` writes one."""
    exact_up_to: int = EXACT_UP_TO

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST:
            raise ValueError(f"an example may have 1 to {MOST} in-context examples, not {self.k}")
        if not 0 <= self.diversity < 1:
            raise ValueError(f"the diversity is at least 0 and less than 1, not {self.diversity}")

    @property
    def by_text(self) -> bool:
        return self.by in (By.INSTRUCTION, By.BOTH)

    @property
    def by_image(self) -> bool:
        return self.by in (By.IMAGE, By.BOTH)

    @property
    def by_vectors(self) -> Distance:
        """How near two pairs' vectors are. Cosines of joined vectors would not be the mean where an image has none."""
        return Distance.DOT if self.by is By.BOTH and self.distance is Distance.COSINE else self.distance

    @property
    def method(self) -> str:
        """The value of the manifest's column `context_method`."""
        named = {
            By.INSTRUCTION: f"raie:{self.texts.name}",
            By.IMAGE: f"image:{self.images.name}",
            By.BOTH: f"both:{self.texts.name}+{self.images.name}",
        }
        return named.get(self.by, f"drawn:{self.by}")


def assign_ranked(dataset: Dataset, plan: Plan, choosing: Choosing, *, databases: Sequence[Dataset] = ()) -> Report:
    """Choose and write the in-context examples of every example that is to have some.

    Pairs come from the `databases`, of which the dataset may be one; without any, from the dataset itself. Raises
    DatasetError if one of them is not completely committed, if two are the same, if one is of a test split that the
    dataset is not of, or if the dataset has nothing of what is chosen by.
    """
    started_s = time.perf_counter()
    grouped = choosing.by is By.GROUP
    asking = _Side(url=dataset, plan=plan, place=None, pairs=Pairs.of(dataset, plan, grouped=grouped))
    _check(dataset, asking.pairs, choosing)
    itself, others = told_apart(dataset, plan, databases)
    sides = [asking] if itself else []
    for place, other in sorted(others, key=lambda one: one[0]):
        there = other.plan()
        sides.append(_Side(url=other, plan=there, place=place, pairs=Pairs.of(other, there, grouped=grouped)))
    everyone = sides if itself else [asking, *sides]
    vectors, vector_of, embedded = _vectors(everyone, choosing)
    embedded_s = time.perf_counter()
    offered = _Offered.of(sides, everyone, plan, vector_of, choosing)
    ranked, spent = _choose(asking.pairs, plan, offered, vectors, choosing)
    searched_s = time.perf_counter()
    sizes = np.zeros(choosing.k + 1, np.int64)
    for part in asking.pairs.parts:
        item = np.where(part.needs[:, None], ranked.item[part.kind, part.pair], -1)
        sizes += np.bincount((item[part.needs] >= 0).sum(1), minlength=choosing.k + 1)
        listed = offered.lists(item, ranked.score[part.kind, part.pair])
        write_contexts(dataset, part.name, Contexts(ranked=listed, method=choosing.method))
    finish_rewriting(dataset, plan)
    used = np.bincount(ranked.item[ranked.item >= 0], minlength=1)
    return Report(
        pairs=len(asking.pairs.keys),
        texts=sum(len(side.pairs.texts) for side in everyone),
        k=choosing.k,
        embedded=embedded,
        method=" and ".join(sorted({one.method for one in spent})) or "none",
        recall=min((one.recall for one in spent), default=1.0),
        fallbacks=sum(one.fallbacks for one in spent),
        sizes={size: int(count) for size, count in enumerate(sizes) if count},
        contexts=int((used > 0).sum()),
        commonest=int(used.max()),
        likeness=_mean([one.alike for one in spent]),
        left_out=offered.left_out,
        passed={why: sum(one.passed.get(leak, 0) for one in spent) for leak, why in _WHY.items()},
        embed_s=embedded_s - started_s,
        search_s=searched_s - embedded_s,
        write_s=time.perf_counter() - searched_s,
    )


@dataclass(frozen=True, kw_only=True)
class _Side:
    """A dataset and its pairs."""

    url: Dataset
    plan: Plan
    place: str | None
    """Where it lies (manifests/read/places.py); None for the one that the contexts are for."""
    pairs: Pairs


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """[kind, n, k]: positions among what was offered, -1 for none, and similarities."""

    item: Ints
    score: Floats


@dataclass(frozen=True, kw_only=True)
class _Offered:
    """All pairs that contexts may come from, in order of their keys and of the places of their datasets."""

    keys: NDArray[np.object_]
    places: NDArray[np.object_]
    items: Items
    asking: Items
    """Those of the dataset that the contexts are for."""
    groups: Ints
    """Of each pair the number of its style, pose or sub-task, -1 for none; 0 where these do not matter."""
    asking_groups: Ints
    inputs: Ints
    """[kind, n]: how many inputs an example has, -1 where there is none that may be shown."""
    left_out: dict[str, int]

    @classmethod
    def of(
        cls, sides: Sequence[_Side], everyone: Sequence[_Side], plan: Plan, vector_of: Ints, choosing: Choosing
    ) -> _Offered:
        """What the sides offer. `everyone` are they and, first, the dataset that the contexts are for."""
        pairs = [side.pairs for side in everyone]
        keys = [key for some in pairs for key in some.keys]
        traits = Traits.of(
            keys,
            [source for some in pairs for source in some.sources],
            [content for some in pairs for content in some.contents],
            [hashes for some in pairs for hashes in some.hashes],
        )
        names = [group for some in pairs for group in some.groups] if choosing.by is By.GROUP else [" "] * len(keys)
        groups = np.where(np.array([bool(name) for name in names], bool), numbered(names), -1)
        inputs = np.hstack([some.inputs for some in pairs])
        places = [side.place for side in everyone for _ in side.pairs.keys]
        asking = len(pairs[0].keys)
        first = 0 if len(sides) == len(everyone) else asking
        left_out = {
            "of a novel task that is held out": _hold_out(everyone, plan, inputs, first),
            "with an image of an evaluation set": _guard(everyone, choosing.guard, traits, inputs, first),
        }
        order = np.array(sorted(range(first, len(keys)), key=lambda one: (keys[one], places[one] or "")), np.int64)
        items = Items(vector=vector_of, traits=traits.under(choosing.guards))
        return cls(
            keys=np.array(keys, object)[order],
            places=np.array(places, object)[order],
            items=items.at(order),
            asking=items.at(np.arange(asking)),
            groups=groups[order],
            asking_groups=groups[:asking],
            inputs=inputs[:, order],
            left_out=left_out,
        )

    def lists(self, item: Ints, score: Floats) -> pa.Array:
        """The ranked lists of rows [n, k] of positions as the manifest has them."""
        there = item >= 0
        flat = item[there]
        scores = score[there]
        values = pa.StructArray.from_arrays(
            [
                pa.array(self.keys[flat], pa.string()),
                pa.array(self.places[flat], pa.string()),
                pa.array(scores, pa.float64(), mask=np.isnan(scores)),
            ],
            fields=[*CONTEXT.fields],
        )
        ends = np.concatenate([[0], np.cumsum(there.sum(1))]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), values)


def _check(dataset: Dataset, pairs: Pairs, choosing: Choosing) -> None:
    """Raises DatasetError if the dataset has nothing of what its contexts are to be chosen by."""
    needs = pairs.needs.any(0)
    if choosing.by is By.GROUP:
        if needs.any() and not any(pairs.groups):
            raise DatasetError(
                f"{dataset.url} records neither styles nor poses nor sub-tasks: choose by instruction, image, or seeded"
            )
    elif (pairs.needs & (pairs.inputs == 0)).any():
        raise DatasetError(
            f"{dataset.url}: its contexts are of the same group, a pose say, not of a near instruction: --by group"
        )


def _vectors(sides: Sequence[_Side], choosing: Choosing) -> tuple[Vectors, Ints, int]:
    """The distinct vectors that pairs are compared by, for each pair of all sides which, and how many were embedded."""
    columns, embedded = [], 0
    if choosing.by_text:
        found = []
        for side in sides:
            vectors, new = embed(side.url, choosing.texts, side.pairs.texts)
            found.append(vectors[side.pairs.text])
            embedded += new
        columns.append(np.concatenate(found))
    if choosing.by_image:
        found = []
        for side in sides:
            vectors, new = _of_images(side, choosing.images)
            found.append(vectors)
            embedded += new
        columns.append(np.concatenate(found))
    if not columns:
        count = sum(len(side.pairs.keys) for side in sides)
        return np.zeros((1, 1), np.float32), np.zeros(count, np.int64), 0
    # Of two pairs' joined vectors the inner product, as the squared distance, is the mean of the two.
    joined = np.hstack(columns) / np.float32(len(columns) ** 0.5)
    return *collapse(np.ascontiguousarray(joined, np.float32)), embedded


def _of_images(side: _Side, embedder: ImageFileEmbedder) -> tuple[Vectors, int]:
    """For each pair the mean of its input images' vectors, of length 1, and how many images were embedded."""
    shards, pictures = side.url.shards, side.pairs.pictures
    distinct = {picture.sha256: picture for some in pictures for picture in some}
    readers = {
        name: lambda one=picture: shards.read(one.shard, one.offset, one.length) for name, picture in distinct.items()
    }
    vectors, new = embed_images(side.url, embedder, readers)
    number = {name: row for row, name in enumerate(distinct)}
    means = np.zeros((len(pictures), embedder.dimension), np.float64)
    for row, some in enumerate(pictures):
        if some:
            means[row] = vectors[[number[picture.sha256] for picture in some]].astype(np.float64).sum(0)
    lengths = np.sqrt((means**2).sum(1, keepdims=True))
    return (means / np.where(lengths > 0, lengths, 1)).astype(np.float32), new


def _hold_out(sides: Sequence[_Side], plan: Plan, inputs: Ints, first: int) -> int:
    """Take the examples away that the plan's dataset holds out and another does not; of how many pairs there are some.

    Of edits, what rules say adds or removes an object: a model has judged the dataset's own alone.
    """
    held = {link["novel_task"]: link for link in plan.config.get("operators") or () if "novel_task" in link}
    rules = RuleClassifier()
    verdicts: dict[str, bool] = {}
    touched = 0
    start = 0
    for side in sides:
        stop = start + len(side.pairs.keys)
        own = {link.get("novel_task") for link in side.plan.config.get("operators") or ()}
        before = inputs[:, start:stop].copy()
        for name, link in held.items():
            if start < first or name in own:
                continue
            if name == EDITS:
                for text in side.pairs.texts:
                    verdicts.setdefault(text, rules(text) != "other")
                changes = np.array([verdicts[text] for text in side.pairs.texts], np.bool_)[side.pairs.text]
                inputs[:, start:stop][:, changes] = -1
            elif concerned(side.plan.task, [name]):
                for direction, kind in link["examples"]:
                    inputs[KINDS.index((direction, kind)), start:stop] = -1
        touched += int((inputs[:, start:stop] != before).any(0).sum())
        start = stop
    return touched


def _guard(sides: Sequence[_Side], guard: str | None, traits: Traits, inputs: Ints, first: int) -> int:
    """Take all examples of the pairs away that show an image of an evaluation set; how many pairs those are.

    Those of a test split are such images themselves, and only other evaluation data is offered them.
    """
    if guard is None:
        return 0
    hashes = np.array([as_integer(row["phash"]) for row in read_guard(read_guard_file(guard), guard)], np.uint64)
    to_train = np.concatenate([np.full(len(side.pairs.keys), not side.plan.test_split) for side in sides])
    seen = np.flatnonzero(to_train & ~traits.blank & (np.arange(len(traits)) >= first))
    either_way = np.concatenate([hashes, hashes ^ MIRRORED])
    near = near_any(traits.hashes[seen].ravel(), either_way, NEAR_BITS).reshape(len(seen), -1).any(1)
    inputs[:, seen[near]] = -1
    return int(near.sum())


def _choose(
    pairs: Pairs, plan: Plan, offered: _Offered, vectors: Vectors, choosing: Choosing
) -> tuple[_Chosen, list[Ranked]]:
    """For every example that needs some, those of the offered pairs with an example of its kind and as many inputs."""
    k, drawn = choosing.k, choosing.by in (By.SEEDED, By.GROUP)
    item = np.full((*pairs.needs.shape, k), -1, np.int64)
    score = np.full(item.shape, -np.inf)
    spent: dict[tuple[bytes, bytes], tuple[Ints, Ranked]] = {}
    found: list[Ranked] = []
    for kind, (direction, name) in enumerate(KINDS):
        for count in np.unique(pairs.inputs[kind, pairs.needs[kind]]):
            asking = np.flatnonzero(pairs.needs[kind] & (pairs.inputs[kind] == count))
            there = _distinct(offered.items.traits, np.flatnonzero(offered.inputs[kind] == count))
            if drawn:
                seeds = [
                    seed_for(plan.config.get("seed", 0), pairs.keys[pair], "context", direction, name)
                    for pair in asking
                ]
                grouped = asking[offered.asking_groups[asking] >= 0]
                seed_of = dict(zip(asking.tolist(), seeds, strict=True))
                asking = grouped
                ranked = draw(
                    offered.asking.traits.at(asking),
                    np.array([seed_of[pair] for pair in asking.tolist()], np.uint64),
                    offered.asking_groups[asking],
                    offered.items.traits.at(there),
                    offered.groups[there],
                    k=k,
                )
                found.append(ranked)
            else:
                # Most datasets' pairs all have the same examples, and need the same.
                same = asking.tobytes(), there.tobytes()
                if same not in spent:
                    ranked = rank(
                        offered.asking.at(asking),
                        offered.items.at(there),
                        vectors,
                        k=k,
                        diversity=choosing.diversity,
                        distance=choosing.by_vectors,
                        exact_up_to=choosing.exact_up_to,
                    )
                    spent[same] = there, ranked
                    found.append(ranked)
                ranked = spent[same][1]
            item[kind, asking] = np.where(ranked.item >= 0, there[ranked.item] if len(there) else -1, -1)
            score[kind, asking] = ranked.score
    return _Chosen(item=item, score=score), found


def _distinct(traits: Traits, items: Ints) -> Ints:
    """Of items that are one pair, by key or by their files, the first."""
    for names in (traits.key, traits.content):
        _, first = np.unique(names[items], return_index=True)
        items = items[np.sort(first)]
    return items


def _mean(values: Sequence[Floats]) -> float | None:
    whole = np.concatenate([np.empty(0), *values])
    return float(whole.mean()) if len(whole) else None


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt contexts") -> int:
    """Assign the in-context examples of datasets and print a report of each; `prog` heads usage and errors.

    Returns the exit status: 0, 2 with one line if it cannot do what was asked, or NOTHING_KEPT with one if no example
    of a dataset has got any. Nothing is written if one of the datasets may not have examples of another.
    """
    options = _parser(prog).parse_args(arguments)
    if (options.embedder == "clip") != bool(options.checkpoint):
        _parser(prog).error("--embedder clip and --checkpoint go together")
    datasets = [Dataset(url) for url in options.datasets]
    status = 0
    try:
        clip = options.checkpoint
        choosing = Choosing(
            k=options.k,
            by=options.by,
            diversity=options.diversity,
            distance=options.distance,
            texts=ClipText(checkpoint=clip, device=options.device) if clip else MiniLM(device=options.device),
            images=ClipImage(checkpoint=clip, device=options.device) if clip else Layout(),
            guard=options.guard,
        )
        databases = [Dataset(url) for url in options.database] or datasets
        plans = [dataset.plan() for dataset in datasets]
        for dataset, plan in zip(datasets, plans, strict=True):
            told_apart(dataset, plan, databases)
        for dataset, plan in zip(datasets, plans, strict=True):
            with said_if_slow(lambda text: say(f"{prog}: {text}", error=True), "retrieving contexts"):
                report = assign_ranked(dataset, plan, choosing, databases=databases)
            for line in [f"{dataset.url}:"] * (len(datasets) > 1) + str(report).splitlines():
                say(line)
            if not report.examples:
                why = "nothing is left for any of them" if report.without else "it has none that is to have one"
                say(f"{prog}: no example of {dataset.url} has an in-context example: {why}", error=True)
                status = NOTHING_KEPT
    except (ValueError, OSError, ImportError) as error:
        say(f"{prog}: {' '.join(str(error).split())}", error=True)
        return 2
    return status


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=prog,
        description="Give every example of datasets ranked in-context examples, none of which leaks.",
    )
    parser.add_argument(
        "datasets",
        nargs="+",
        metavar="DATASET",
        help="dataset directories with all their units, local or fsspec URLs: each gets examples of all of them",
    )
    parser.add_argument("--k", type=int, default=1, help=f"how many, 1 to {MOST} (default: 1, as in the paper)")
    parser.add_argument(
        "--by",
        type=By,
        choices=list(By),
        default=By.INSTRUCTION,
        help="what they have in common: a near instruction, an input image that looks alike, the mean of both; or "
        "drawn at random, of all pairs or of those of one style, pose or sub-task (default: instruction)",
    )
    parser.add_argument(
        "--diversity",
        type=float,
        default=DIVERSITY,
        metavar="0..1",
        help="the weight, in maximal marginal relevance, of being unlike those before; 0: the nearest "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--database",
        nargs="+",
        default=[],
        metavar="DIR",
        help="dataset directories from which the examples are to come, and from no others (default: each DATASET)",
    )
    parser.add_argument(
        "--guard", metavar="FILE", help="take no pair with an image of this guard file (xprompt hashes)"
    )
    parser.add_argument(
        "--embedder",
        choices=["minilm", "clip"],
        default="minilm",
        help="clip compares images too, which are else compared by their layout of colours (default: %(default)s)",
    )
    parser.add_argument("--checkpoint", help="for clip: the folder of ViT-B/32's config and weights")
    parser.add_argument(
        "--device", default="cpu", help="where texts and images are embedded: cpu or cuda (default: %(default)s)"
    )
    parser.add_argument(
        "--distance",
        type=Distance,
        choices=list(Distance),
        default=Distance.COSINE,
        help="how near two instructions or images are (default: cosine)",
    )
    return parser
