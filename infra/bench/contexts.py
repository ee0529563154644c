"""k ranked in-context examples for every pair, once embedded: time, recall, and what the guards cost.

    python -m infra.bench.contexts --pairs 508000 --k 4

Instructions are those of infra/bench/instructions.py, their vectors stand-ins (infra/bench/raie.py), or MiniLM's own
with `--embed`, at about 100 texts a CPU second. Four pairs are made of each original picture, and of a hundred pictures
one is another's near-duplicate, so that guards have work. `--clumps` gives the pairs of a picture instructions that are
nearly the same, 500 to a picture: shortlists are then full of what must not be shown, and all queries go to the whole
database.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from infra.bench.instructions import ULTRAEDIT_INSTRUCTIONS, instructions
from infra.bench.raie import Clock, stand_ins
from operators.retrieve.contexts import DIVERSITY
from operators.retrieve.leaks import Leak, Traits
from operators.retrieve.ranked import EXACT_UP_TO, Items, collapse, rank
from operators.shared.texts import MiniLM

_PAIRS_A_PICTURE, _PAIRS_A_CLUMP = 4, 500


def main() -> int:
    arguments = _parser().parse_args()
    texts = instructions(arguments.pairs)
    if arguments.clumps:
        texts = [f"{texts[number // _PAIRS_A_CLUMP]} {number % _PAIRS_A_CLUMP}" for number in range(len(texts))]
    distinct = list(dict.fromkeys(texts))
    embedder = MiniLM()
    embedder(distinct[:1])  # loads the weights
    with Clock() as clock:
        vectors = embedder(distinct) if arguments.embed else stand_ins(embedder, distinct)
    print(f"{len(texts):,} pairs, {len(distinct):,} distinct instructions; vectors: {clock}", flush=True)
    vectors, vector_of = collapse(vectors)
    number = dict(zip(distinct, vector_of.tolist(), strict=True))
    items = Items(
        vector=np.array([number[text] for text in texts]),
        traits=_traits(len(texts), _PAIRS_A_CLUMP if arguments.clumps else _PAIRS_A_PICTURE),
    )
    with Clock() as clock:
        ranked = rank(
            items,
            items,
            vectors,
            k=arguments.k,
            diversity=arguments.diversity,
            exact_up_to=arguments.exact_up_to,
        )
    have = (ranked.item >= 0).sum(1)
    print(
        f"k = {arguments.k}: {clock}, {1_000 * clock.cpu_s / len(texts):.2f} ms of CPU a pair; {ranked.method}, recall "
        f"{ranked.recall:.4f}, {ranked.fallbacks:,} compared with all"
    )
    print(f"{(have == arguments.k).sum():,} pairs have {arguments.k}, {(have == 0).sum():,} none")
    passed = ", ".join(f"{ranked.passed.get(why, 0):,} {why.name.lower()}" for why in Leak if why)
    print(f"passed over: {passed}")
    used = np.bincount(ranked.item[ranked.item >= 0])
    print(
        f"{(used > 0).sum() / len(texts):.1%} of the pairs are some context, the commonest {used.max():,} times; mean "
        f"similarity to the query {ranked.score[ranked.item >= 0].mean():.3f}, among its own {ranked.alike.mean():.3f}"
    )
    return 0


def _traits(count: int, pairs_a_picture: int) -> Traits:
    random = np.random.default_rng(0)
    picture = np.arange(count) // pairs_a_picture
    looks = random.integers(0, 2**64, picture.max() + 1, np.uint64)
    alike = random.random(len(looks)) < 0.01
    looks[alike] = looks[random.integers(0, len(looks), alike.sum())] ^ np.uint64(1)
    hashes = np.stack([looks[picture], random.integers(0, 2**64, count, np.uint64)], axis=1)
    everything = np.arange(count)
    return Traits(key=everything, group=picture, content=everything, hashes=hashes, blank=np.zeros(count, bool))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.bench.contexts", description="Ranked in-context examples of many pairs."
    )
    parser.add_argument("--pairs", type=int, default=20_000, help=f"(default: 20000; all: {ULTRAEDIT_INSTRUCTIONS})")
    parser.add_argument("--k", type=int, default=4, help="(default: 4)")
    parser.add_argument("--diversity", type=float, default=DIVERSITY, help="(default: %(default)s)")
    parser.add_argument("--exact-up-to", type=int, default=EXACT_UP_TO, help="distinct vectors (default: %(default)s)")
    parser.add_argument("--clumps", action="store_true", help="500 nearly equal instructions of each picture")
    parser.add_argument("--embed", action="store_true", help="embed the instructions instead of standing in for them")
    return parser


if __name__ == "__main__":
    sys.exit(main())
