"""The SQL views with their columns, types and meanings, for whoever writes a query on the page."""

from __future__ import annotations

from typing import Any

from manifests.licences.records import DUTIES, PERMISSIONS
from manifests.read.query import select
from manifests.read.sql_pool import Pool

_PAIR = {
    "pair": "the pair's key, 32 hex digits",
    "task": "the dataset's task",
    "prototype_task": "the family of tasks that it belongs to",
    "shard": "the tar that holds the images",
    "images": "the pair's images: role, place in the shard, size, format and hashes",
    "scores": "what the gates measured, by name: scores['ssim']",
    "source": "where the material is from",
    "source_ref": "the item's name in its source",
    "source_group": "the original picture or scene",
    "licence": "the licence as the source states it",
    "parents": "keys of the pairs that it was made of",
    "steps": "what made it: operators with version, parameters, seed, model and prompt",
}
_EXAMPLE = {
    "direction": "forward, or reverse: from the target back to the input",
    "kind": "generate: an image is asked for; describe: a text",
    "instruction": "what is asked",
    "inputs": "roles of the images that are shown, in order",
    "output": "role of the image that is asked for; NULL for a text",
    "text": "the answer of a describe example; NULL for an image",
    "contexts": "its in-context examples, the best first: pair, dataset (NULL: this one), score",
    "context_method": "how they were chosen",
}

VIEWS: dict[str, tuple[str, dict[str, str]]] = {
    "examples": ("one row an example", {**_PAIR, **_EXAMPLE}),
    "pairs": ("one row a pair", {**_PAIR, "examples": "its examples: the columns from direction to context_method"}),
    "rejects": (
        "one row an item that was not kept",
        {
            "task": "the dataset's task",
            "source": "where the item is from",
            "source_ref": "the item's name in its source",
            "files": "the files that it was read from",
            "operator": "what rejected it",
            "reason": "why, as a short code",
            "message": "why, for people",
            "scores": "what the gate measured, by name",
            "shard": "the name of its unit's tars",
            "pictures": "small pictures of it, by side: place in the tar of reject_pictures/, size and hash",
        },
    ),
    "terms": (
        "one row a pair: its licences, and what they allow together",
        {
            "task": "the dataset's task",
            "pair": "the pair's key",
            "source": "where the material is from",
            "licence": "the licence as the source states it",
            "licences": "the names of the licences' records: of the material and of the models that made something",
            **{
                name: f"whether {name.replace('_', ' ')} use is allowed; NULL if a licence does not say"
                for name in PERMISSIONS
            },
            **{
                name: f"whether {name.replace('_', ' ')} is asked for; NULL if a licence does not say"
                for name in DUTIES
            },
        },
    ),
}
"""By view: what a row is, and what each column means."""


def schema(pool: Pool) -> list[dict[str, Any]]:
    """The views in the order of `VIEWS`, each with its columns as DuckDB has them: name, type and meaning."""
    found = []
    for view, (meaning, columns) in VIEWS.items():
        described = select(pool, f"DESCRIBE {view}")
        named = [
            {"name": row["column_name"], "type": row["column_type"], "meaning": columns.get(row["column_name"], "")}
            for row in described
        ]
        found.append({"view": view, "meaning": meaning, "columns": named})
    return found
