"""What is in a dataset, counted: the answers of the page's view "Statistics", a part at a time.

Each part is one statement of DuckDB's, or two, and what comes back is as long as the page is. So it costs the same
memory whatever the dataset's size, and a slow part keeps no other one waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from manifests.browse.pairs import BadRequest, refuse_other_task
from manifests.licences.records import PERMISSIONS
from manifests.read.query import rows_of, select
from manifests.read.sql_pool import Pool
from manifests.schema import MASK

BINS = 20
SHOWN = 20
"""Rows of the lists that have the most frequent first."""

_WORD = r"[^\s\v\x1c-\x1f\x85\pZ]+"
"""A word is what Python's `str.split` takes for one: what stands between white space of any script."""


class Statistics:
    """The parts for the units that a pool sees, each of one task or, for "", of all. Threads may share it."""

    def __init__(self, pool: Pool, tasks: Collection[str]) -> None:
        self._pool, self._tasks = pool, tasks
        self._known: dict[tuple[str, str], Any] = {}

    def answer(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The part that a query names, or all of them, by name. Raises BadRequest for a part or task that is none."""
        name, task = query.get("part", ""), query.get("task", "")
        if name and name not in PARTS:
            raise BadRequest(f"there is no part {name} of the statistics: it is one of {', '.join(PARTS)}")
        refuse_other_task(query, self._tasks)
        return {part: self._part(part, task) for part in ([name] if name else PARTS)}

    def _part(self, name: str, task: str) -> Any:
        if (name, task) not in self._known:  # two who ask at once both count, to the same end
            self._known[name, task] = PARTS[name](self._pool, task)
        return self._known[name, task]


def _counts(pool: Pool, task: str) -> dict[str, Any]:
    """Pairs by task, examples by direction and kind, and rejects by reason."""
    examples, rejects = rows_of("examples", task), rows_of("rejects", task)
    return {
        "pairs": select(
            pool,
            "SELECT task, count(*) AS pairs, sum(n)::BIGINT AS examples FROM "
            f"(SELECT task, pair, count(*) AS n FROM {examples} GROUP BY ALL) GROUP BY ALL ORDER BY ALL",
        ),
        "examples": select(
            pool,
            f"SELECT direction, kind, count(*) AS examples FROM {examples} GROUP BY ALL ORDER BY ALL",
        ),
        "rejects": select(
            pool,
            f"SELECT task, operator, reason, count(*) AS items FROM {rejects} GROUP BY ALL "
            "ORDER BY items DESC, task, operator, reason",
        ),
    }


def _images(pool: Pool, task: str) -> dict[str, Any]:
    """Sizes and formats of images by role, and images that several pairs have: of the same bytes, or of one hash.

    Masks are no duplicates: they are shapes in black and white, of which many are alike. A pair counts once, however
    many examples it has.
    """
    examples = rows_of("examples", task)
    (row,) = select(
        pool,
        f"""
        WITH image AS MATERIALIZED (
            SELECT hash(task, pair) AS pair, i.role, i.width_px, i.height_px, i.bytes, i.format, i.mode,
                   hash(i.sha256) AS content, i.phash
            FROM (SELECT task, pair, unnest(any_value(images)) AS i FROM {examples} GROUP BY task, pair)
        ), same AS (
            SELECT content, count(*) AS images, count(DISTINCT pair) AS pairs
            FROM image WHERE role <> '{MASK}' GROUP BY ALL HAVING pairs > 1
        ), alike AS (
            SELECT phash, count(*) AS images, count(DISTINCT pair) AS pairs
            FROM image WHERE role <> '{MASK}' AND phash IS NOT NULL GROUP BY ALL HAVING pairs > 1
        )
        SELECT
            (SELECT list(r ORDER BY r.role) FROM (
                SELECT role, count(*) AS images, count(DISTINCT (width_px, height_px)) AS sizes,
                       min(width_px) AS min_width_px, median(width_px) AS median_width_px,
                       max(width_px) AS max_width_px,
                       min(height_px) AS min_height_px, median(height_px) AS median_height_px,
                       max(height_px) AS max_height_px, sum(bytes)::DOUBLE AS bytes,
                       list_sort(list(DISTINCT format || ' ' || mode)) AS formats
                FROM image GROUP BY ALL) r) AS roles,
            (SELECT list(r ORDER BY r.images DESC, r.role, r.width_px, r.height_px) FROM (
                SELECT role, width_px, height_px, count(*) AS images FROM image GROUP BY ALL
                ORDER BY images DESC, role, width_px, height_px LIMIT {SHOWN}) r) AS sizes,
            (SELECT {{'groups': count(*), 'images': coalesce(sum(images), 0)::BIGINT}} FROM same) AS same_bytes,
            (SELECT {{'groups': count(*), 'images': coalesce(sum(images), 0)::BIGINT}} FROM alike) AS same_hash,
            (SELECT list(r ORDER BY r.images DESC, r.phash) FROM (
                SELECT * FROM alike ORDER BY images DESC, phash LIMIT {SHOWN}) r) AS alike,
            (SELECT count(*) FROM image WHERE role <> '{MASK}' AND phash IS NULL) AS without_hash
        """,
    )
    return {name: [] if value is None else value for name, value in row.items()}


def _lengths(pool: Pool, task: str) -> list[dict[str, Any]]:
    """Words of instructions and of answers, by kind: fewest, median and most, and how many examples have how many."""
    examples = rows_of("examples", task)
    words = f"len(regexp_extract_all(said, '{_WORD}'))"
    return select(
        pool,
        f"""
        WITH said AS (
            SELECT 'instruction' AS what, kind, instruction AS said, count(*) AS examples
            FROM {examples} GROUP BY ALL
            UNION ALL
            SELECT 'answer', kind, text, count(*) FROM {examples} WHERE text IS NOT NULL GROUP BY ALL
        ), counted AS MATERIALIZED (
            SELECT what, kind, {words} AS words, sum(examples)::BIGINT AS examples FROM said GROUP BY ALL
        ), bounds AS (
            SELECT what, kind, min(words) AS min, max(words) AS max, sum(examples)::BIGINT AS examples,
                   greatest(1, ceil((max(words) - min(words) + 1) / {BINS}))::BIGINT AS width
            FROM counted GROUP BY ALL
        ), ranked AS (
            SELECT what, kind, words, sum(examples) OVER (PARTITION BY what, kind ORDER BY words) AS so_far FROM counted
        ), middle AS (
            SELECT what, kind, (min(words) FILTER (so_far > (bounds.examples - 1) // 2)
                                + min(words) FILTER (so_far > bounds.examples // 2)) / 2 AS median
            FROM ranked JOIN bounds USING (what, kind) GROUP BY ALL
        ), bins AS (
            SELECT what, kind, min + (words - min) // width * width AS low,
                   min + (words - min) // width * width + width - 1 AS high, sum(counted.examples)::BIGINT AS examples
            FROM counted JOIN bounds USING (what, kind) GROUP BY ALL
        )
        SELECT what, kind, any_value(bounds.examples) AS examples, any_value(bounds.min) AS min,
               any_value(median) AS median, any_value(bounds.max) AS max,
               list({{'low': low, 'high': high, 'count': bins.examples}} ORDER BY low) AS bins
        FROM bins JOIN bounds USING (what, kind) JOIN middle USING (what, kind)
        GROUP BY what, kind ORDER BY what DESC, kind DESC
        """,
    )


def _scores(pool: Pool, task: str) -> list[dict[str, Any]]:
    """Of each score of pairs: how many have it, least, median, most, and a histogram of bins of equal width.

    `low` and `high` of a bin are the least and the most that are in it, so that a filter from the one to the other
    leaves what the bin counts. What is no finite number is counted apart.
    """
    examples = rows_of("examples", task)
    return select(
        pool,
        f"""
        WITH scored AS (
            SELECT any_value(scores) AS scores FROM {examples} GROUP BY task, pair
        ), one AS MATERIALIZED (
            SELECT score.key AS name, score.value AS value
            FROM (SELECT unnest(map_entries(scores)) AS score FROM scored)
        ), bounds AS (
            SELECT name, count(*) FILTER (isfinite(value)) AS pairs,
                   count(*) FILTER (NOT isfinite(value)) AS not_finite,
                   min(value) FILTER (isfinite(value)) AS min, median(value) FILTER (isfinite(value)) AS median,
                   max(value) FILTER (isfinite(value)) AS max
            FROM one GROUP BY ALL
        ), placed AS (
            SELECT name, value, CASE WHEN value <= bounds.min THEN 0 ELSE least({BINS - 1}, greatest(0, floor(
                   (value / 2 - bounds.min / 2) / (bounds.max / 2 - bounds.min / 2) * {BINS})))::INTEGER END AS bin
            FROM one JOIN bounds USING (name) WHERE isfinite(value)
        ), bins AS (
            SELECT name, bin, min(value) AS low, max(value) AS high, count(*) AS count FROM placed GROUP BY ALL
        )
        SELECT bounds.*, (
            SELECT coalesce(list({{'bin': bin, 'low': low, 'high': high, 'count': count}} ORDER BY bin), [])
            FROM bins WHERE bins.name = bounds.name) AS bins
        FROM bounds ORDER BY name
        """,
    )


def _instructions(pool: Pool, task: str) -> dict[str, Any]:
    """The most frequent instructions, each with its MD5, by which a long one is looked for, and how many there are."""
    examples = rows_of("examples", task)
    (row,) = select(
        pool,
        f"""
        WITH said AS MATERIALIZED (
            SELECT instruction, md5(instruction) AS md5, count(*) AS examples FROM {examples} GROUP BY ALL
        )
        SELECT count(*) AS distinct_instructions,
               (SELECT list(r ORDER BY r.examples DESC, r.instruction)
                FROM (SELECT * FROM said ORDER BY examples DESC, instruction LIMIT {SHOWN}) r) AS frequent
        FROM said
        """,
    )
    return {"distinct": row["distinct_instructions"], "frequent": row["frequent"] or []}


def _licences(pool: Pool, task: str) -> list[dict[str, Any]]:
    """Pairs by source and licence, with the records' names and what they allow together (manifests/licences/)."""
    terms = rows_of("terms", task)
    return select(
        pool,
        f"SELECT source, licence, licences, {', '.join(PERMISSIONS)}, count(*) AS pairs FROM {terms} "
        "GROUP BY ALL ORDER BY pairs DESC, source, licence, licences",
    )


def _contexts(pool: Pool, task: str) -> dict[str, Any]:
    """How examples got their in-context examples, and how many pairs serve how many others as one.

    A pair serves another once, whatever the examples, and at any rank. What serves from another dataset is counted in
    `from_elsewhere`, the number of pairs that it serves, and not among the others.
    """
    examples = rows_of("examples", task)
    (row,) = select(
        pool,
        f"""
        WITH shown AS MATERIALIZED (
            SELECT DISTINCT task, pair, c.pair AS context, c.dataset AS place
            FROM (SELECT task, pair, unnest(contexts) AS c FROM {examples})
        ), served AS MATERIALIZED (
            SELECT task, context, count(*) AS times FROM shown WHERE place IS NULL GROUP BY ALL
        ), every AS MATERIALIZED (
            SELECT times FROM (SELECT DISTINCT task, pair FROM {examples}) AS own
            LEFT JOIN served ON own.task = served.task AND own.pair = served.context
        ), bins AS (
            SELECT CASE WHEN n <= 8 THEN n ELSE (2 ** floor(log2(n - 1)))::BIGINT + 1 END AS low,
                   CASE WHEN n <= 8 THEN n ELSE (2 ** (floor(log2(n - 1)) + 1))::BIGINT END AS high, count(*) AS pairs
            FROM (SELECT coalesce(times, 0) AS n FROM every) GROUP BY ALL
        )
        SELECT
            (SELECT coalesce(list({{'low': low, 'high': high, 'pairs': pairs}} ORDER BY low), []) FROM bins) AS reuse,
            (SELECT coalesce(list(r ORDER BY r.times DESC, r.task, r.pair), []) FROM (
                SELECT task, context AS pair, times FROM served ORDER BY times DESC, task, pair LIMIT 10) r) AS most,
            (SELECT count(DISTINCT (task, pair)) FROM shown WHERE place IS NOT NULL) AS from_elsewhere
        """,
    )
    methods = select(
        pool,
        f"SELECT context_method AS method, count(*) AS examples FROM {examples} GROUP BY ALL "
        "ORDER BY examples DESC, method",
    )
    return {**row, "methods": methods}


PARTS: Mapping[str, Callable[[Pool, str], Any]] = {
    "counts": _counts,
    "instructions": _instructions,
    "scores": _scores,
    "lengths": _lengths,
    "images": _images,
    "licences": _licences,
    "contexts": _contexts,
}
"""By name: what counts a part, over the pairs of one task or, for "", of all."""
