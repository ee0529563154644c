"""What the page of one pair shows beside the pair itself. Each part is asked for by itself: none waits for another.

Where the pair serves as an in-context example and which pairs are like it DuckDB finds, which looks through the columns
that this takes: 0.3 s at 100,000 pairs. Candidates and answers lie beside the manifests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from manifests.browse.pairs import BadRequest
from manifests.dataset import Dataset
from manifests.images.near import MAX_DISTANCE
from manifests.read.answers import answers_about
from manifests.read.candidates import StoredCandidate, candidates_of_pair
from manifests.read.query import MANIFESTS, read_image, select
from manifests.read.sql_pool import Pool
from manifests.schema import MASK, Reject

MOST_SHOWN = 24
"""How many pairs a list has; how many there are is said beside it."""

LEAST_SHARED = 0.5
"""How much of the words of two instructions both must have, of all that either has, for them to be neighbours."""

_SEARCHED_BY = (("forward", "generate"), ("reverse", "generate"), ("forward", "describe"), ("reverse", "describe"))
_FILTERED_WORDS = 16  # a first look for whole words as parts of the text, which is ten times as fast as to cut it up
_SHOWN_FORMATS = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_WORDS = "list_distinct(list_filter(regexp_split_to_array(lower({}), '[^\\pL\\pN]+'), lambda word: word != ''))"

Row = Mapping[str, Any]


def serves(connection: Pool, pair: Row) -> dict[str, Any]:
    """The pairs for which this one is an in-context example: `total` and `rows`, by rank and then by nearness.

    A row has the task and the key of the other pair, its `rank` from 1 and its `score`, those of its best example.
    """
    key = pair["pair"]
    found = select(
        connection,
        f"""
        WITH named AS (
            SELECT task, pair, list_position(list_transform(contexts, lambda one: one.pair), ?) AS rank, contexts
            FROM {MANIFESTS} WHERE list_contains(list_transform(contexts, lambda one: one.pair), ?)
        )
        SELECT task, pair, min(rank) AS rank, max(contexts[rank].score) AS score, count(*) AS examples,
               count(*) OVER () AS total
        FROM named GROUP BY task, pair ORDER BY rank, score DESC NULLS LAST, task, pair LIMIT {MOST_SHOWN}
        """,
        [key, key],
    )
    return _listed(found)


def near_images(connection: Pool, pair: Row) -> dict[str, Any]:
    """Pairs with an image whose perceptual hash is at most MAX_DISTANCE bits from one of this pair's.

    `total`, `distance` and `rows`, the nearest first: task, key, the `role` there and `own_role` here that are nearest,
    and how many `bits` apart. Masks are not compared, nor images without a hash.
    """
    own = _hashes(pair["images"])
    if not own:
        return {"distance": MAX_DISTANCE, "total": 0, "rows": []}
    bits = ", ".join("bit_count(xor(hash, ?::UBIGINT))" for _ in own)
    found = select(
        connection,
        f"""
        WITH images AS (
            SELECT task, pair, image.role AS role, TRY_CAST('0x' || image.phash AS UBIGINT) AS hash
            FROM (SELECT task, pair, unnest(images) AS image FROM {MANIFESTS})
            WHERE image.phash IS NOT NULL AND image.role <> '{MASK}'
        ), near AS (
            SELECT task, pair, role, hash, least({bits}) AS bits FROM images
            WHERE least({bits}) <= {MAX_DISTANCE} AND pair <> ?
        )
        SELECT task, pair, min(bits) AS bits, arg_min(role, bits) AS role, arg_min(hash, bits)::VARCHAR AS hash,
               count(*) OVER () AS total
        FROM near GROUP BY task, pair ORDER BY bits, task, pair LIMIT {MOST_SHOWN}
        """,
        [*own.values(), *own.values(), pair["pair"]],
    )
    for row in found:
        there = int(row.pop("hash"))
        row["own_role"] = next(role for role, hashed in own.items() if (hashed ^ there).bit_count() == row["bits"])
    return {"distance": MAX_DISTANCE, **_listed(found)}


def near_instructions(connection: Pool, pair: Row) -> dict[str, Any]:
    """Pairs whose instruction has the same words, or most: `total`, `instruction`, and `rows`, the nearest first.

    Compared are examples of one direction and kind, as contexts are searched: forward ones that generate, if the pair
    has one. `shared` is the number of words that both have, of all that either has.
    """
    example = _searched(pair["examples"])
    if example is None:
        return {"instruction": "", "total": 0, "rows": []}
    (row,) = select(connection, f"SELECT {_WORDS.format('?')} AS words", [example["instruction"]])
    words: list[str] = row["words"]
    if not words:
        return {"instruction": example["instruction"], "total": 0, "rows": []}
    # Both have at least half of our words, so of some of ours at least those that are more than the other half.
    some = words[:_FILTERED_WORDS]
    least = len(some) - len(words) // 2
    has = " + ".join("contains(said, ?)::INTEGER" for _ in some)
    found = select(
        connection,
        f"""
        WITH instructions AS (
            SELECT lower(instruction) AS said, list({{task: task, pair: pair, instruction: instruction}}) AS pairs
            FROM {MANIFESTS} WHERE direction = ? AND kind = ? AND pair <> ? GROUP BY said HAVING {has} >= {least}
        ), counted AS (
            SELECT pairs, len(list_intersect(words, ?)) AS common, len(words) AS there
            FROM (SELECT pairs, {_WORDS.format("said")} AS words FROM instructions)
        ), near AS (
            SELECT common / (there + {len(words)} - common) AS shared, unnest(pairs) AS one FROM counted
            WHERE common / (there + {len(words)} - common) >= {LEAST_SHARED}
        )
        SELECT one.task AS task, one.pair AS pair, one.instruction AS instruction, shared, count(*) OVER () AS total
        FROM near ORDER BY shared DESC, task, pair LIMIT {MOST_SHOWN}
        """,
        [example["direction"], example["kind"], pair["pair"], *some, words],
    )
    return {"instruction": example["instruction"], **_listed(found)}


def candidates(dataset: Dataset, pair: Row) -> list[dict[str, Any]]:
    """What the pair's target was chosen among, [] if that is not stored. Raises DatasetError if it is damaged."""
    return [
        {**one.said, "scores": dict(one.scores), "number": number, "format": one.ending}
        for number, one in enumerate(_candidates(dataset, pair))
    ]


def candidate_picture(dataset: Dataset, pair: Row, number: int) -> tuple[str, bytes] | None:
    """Content type and bytes of the picture of a candidate, None if there is none of that number.

    Raises DatasetError if it is damaged, BadRequest if no browser shows it.
    """
    there = _candidates(dataset, pair)
    if not 0 <= number < len(there):
        return None
    if there[number].ending not in _SHOWN_FORMATS:
        raise BadRequest(f"candidate {number} is a file .{there[number].ending}, which no browser shows")
    return _SHOWN_FORMATS[there[number].ending], there[number].data()


def answers(dataset: Dataset, pair: Row) -> list[dict[str, Any]]:
    """What vision-language models answered about the pair, in the order of its steps.

    For each step that names a model and a prompt: its `operator` and `prompt`, and `said`, the records of
    `manifests.read.answers.answers_about`; [] if none is kept. Steps whose prompt is what a picture was made of have
    no name of a prompt and are not among them.
    """
    asked = [step for step in pair["steps"] if step["model"] and _is_name(step["prompt"])]
    if not asked:
        return []
    shown = _as_asked(dataset, pair)
    instructions = [example["instruction"] for example in pair["examples"]]
    records = [*answers_about(dataset, {step["prompt"] for step in asked}, shown.keys(), instructions)]
    for record in records:
        record["roles"] = [shown[sha256] for sha256 in record["request"]["images"]]
    return [
        {
            "operator": step["operator"],
            "model": step["model"],
            "prompt": step["prompt"],
            "said": [record for record in records if _is_of(step, record["request"])],
        }
        for step in asked
    ]


def _is_of(step: Row, request: Row) -> bool:
    return bool(step["prompt"] == request["prompt"] and step["model"] == request.get("model"))


def _is_name(prompt: str | None) -> bool:
    """Whether this is the name of a prompt: its id and its hash."""
    head, at, digits = (prompt or "").rpartition("@")
    return bool(head and at) and len(digits) == 12 and set(digits) <= set("0123456789abcdef")


def _as_asked(dataset: Dataset, pair: Row) -> dict[str, str]:
    """The roles of the pair's images, by the sha256 of what a model is shown of each."""
    from manifests.images.as_asked import as_asked  # not before somebody looks: cv2 takes a while

    roles: dict[str, str] = {}
    for image in pair["images"]:
        try:
            shown = as_asked(read_image(dataset, pair["shard"], image))
        except Reject:
            continue  # no model was shown it
        roles.setdefault(hashlib.sha256(shown).hexdigest(), image["role"])
    return roles


def _candidates(dataset: Dataset, pair: Row) -> Sequence[StoredCandidate]:
    return candidates_of_pair(dataset, pair["shard"].removesuffix(".tar"), pair["pair"])


def _hashes(images: Sequence[Row]) -> dict[str, int]:
    """Perceptual hashes by role."""
    hashes = {}
    for image in images:
        try:
            if image["role"] != MASK and image["phash"] is not None:
                hashes[image["role"]] = int(image["phash"], 16)
        except ValueError:
            continue  # somebody has edited it
    return {role: hashed for role, hashed in hashes.items() if 0 <= hashed < 2**64}


def _searched(examples: Sequence[Row]) -> Row | None:
    by_kind = {(example["direction"], example["kind"]): example for example in reversed(examples)}
    return next((by_kind[kind] for kind in _SEARCHED_BY if kind in by_kind), None)


def _listed(found: list[dict[str, Any]]) -> dict[str, Any]:
    """`total` and `rows`, of rows that each say the total."""
    total = found[0]["total"] if found else 0
    for row in found:
        del row["total"]
    return {"total": total, "rows": found}
