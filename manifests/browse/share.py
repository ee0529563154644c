"""A static page with a sample of datasets, for any web space: the page of `server.py` that needs no server.

    DIR/index.html, page.js, style.css      the page
    DIR/sample.js                           pairs, and the statistics of all
    DIR/images/00000.webp                   pictures of at most 640 px
    DIR/share.json                          the names of all files, by which the folder is known as ours

It also opens from a disk. What it holds of the rest of the dataset are counts and the most frequent instructions; of
rejects, how many there are by reason. The datasets' places are not in it, see `public`.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manifests.browse.classic import classic
from manifests.browse.images import Place
from manifests.browse.pairs import MOST_KEYS
from manifests.browse.public import public
from manifests.browse.snapshot import Snapshot
from manifests.browse.statistics import Statistics
from manifests.browse.thumbnails import Cache
from manifests.dataset import DatasetError
from manifests.export.folder import refuse_inside
from manifests.read.query import select
from manifests.records import parse_json
from manifests.schema import Reject, canonical_json

PAIRS = 50
SIDE_PX = 640

_PAGE = Path(__file__).parent / "page"
_LISTED = "share.json"
_LINES = {
    '<link rel="stylesheet" href="/page/style.css">': '<link rel="stylesheet" href="style.css">',
    '<script type="module" src="/page/main.js"></script>': (
        '<script src="sample.js"></script>\n<script defer src="page.js"></script>'
    ),
    '<meta charset="utf-8">': (
        '<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        'form-action \'none\'">\n<meta name="referrer" content="no-referrer">'
    ),
}
"""Lines of index.html, and what stands for them on a page without a server."""

_KEPT_OF_OVERVIEW = ("task", "units", "committed", "finished", "pairs", "examples", "rejects", "shard_bytes")
_PROSE = ("instruction", "text", "prompt")


def share(url: str, out: Path, *, pairs: int = PAIRS, seed: int = 0) -> list[str]:
    """Write the page into a folder that is not there yet, or over an older one. The same bytes for the same datasets.

    Pairs are shared out evenly among the tasks, and drawn within each by `seed`. Returns what could not be shown, a
    line each. Raises DatasetError if there is no pair, ValueError if something else is in the folder.
    """
    if pairs < 1:
        raise ValueError(f"{pairs} pairs make no page: at least one is needed")
    out = Path(os.path.abspath(out))
    refuse_other(out)
    snapshot = Snapshot(url)
    refuse_inside(str(out), [dataset.url for dataset in snapshot.datasets.values()])
    keys = _drawn(snapshot, pairs, seed)
    if not keys:
        raise DatasetError(f"{url} has no committed pair to show")
    rows = _rows(snapshot, keys)
    contexts = {context["pair"] for row in rows.values() for one in row["examples"] for context in one["contexts"]}
    rows |= _rows(snapshot, sorted(contexts - rows.keys()))
    with _writing(out) as folder:
        images, problems = _pictures(snapshot, rows, folder)
        sample = {
            "overview": [{name: one[name] for name in _KEPT_OF_OVERVIEW if name in one} for one in snapshot.overview],
            "scores": snapshot.scores,
            "statistics": _statistics(snapshot),
            "listed": keys,
            "pairs": [[key, _public_row(row)] for key, row in rows.items()],
            "images": images,
        }
        # A text in a text: JSON.parse makes no prototype of a key, and no character of it can end the script.
        (folder / "sample.js").write_text(f"var sharedSample = {json.dumps(json.dumps(sample))};\n")
        for name, text in _page().items():
            (folder / name).write_text(text)
    return problems


def refuse_other(out: Path) -> None:
    """Raises ValueError if something is at this place that is not a page of ours, or has files that are not ours."""
    if not os.path.lexists(out):
        return
    there = _named(out)
    if there is None:
        raise ValueError(f"{out} is there and is no page that --share wrote: choose a folder that is not there")
    found = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_symlink() or not file.is_dir()}
    if others := sorted(found - there):
        raise ValueError(f"{out} has {others[0]}, which --share did not write: choose another folder, or move it away")


def _named(out: Path) -> set[str] | None:
    """The files of an older page; None if it is none."""
    try:
        if out.is_symlink():
            return None
        said = parse_json((out / _LISTED).read_bytes())
        return {str(name) for name in said["files"]} | {_LISTED}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _drawn(snapshot: Snapshot, pairs: int, seed: int) -> list[str]:
    """Keys of pairs, the tasks in turns. A task that has fewer than its share leaves the rest to the others."""
    found = select(
        snapshot.connection,
        "SELECT task, list(pair ORDER BY place) AS keys FROM ("
        "SELECT task, pair, row_number() OVER (PARTITION BY task ORDER BY md5(? || pair), pair) AS place "
        "FROM (SELECT DISTINCT task, pair FROM examples)) WHERE place <= ? GROUP BY task ORDER BY task",
        [f"{seed}/", pairs],
    )
    left: list[list[str]] = [row["keys"] for row in found]
    drawn: list[str] = []
    for place in range(pairs):
        drawn += [keys[place] for keys in left if place < len(keys)]
    return drawn[:pairs]


def _rows(snapshot: Snapshot, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Rows of the view `pairs` by key, in the order of the keys; those that are there."""
    some = (keys[start : start + MOST_KEYS] for start in range(0, len(keys), MOST_KEYS))
    return {row["pair"]: row for part in some for row in snapshot.named(part)}


def _statistics(snapshot: Snapshot) -> list[tuple[str, Any]]:
    """The statistics of all and of each task, without those that lead to pairs by their keys."""
    statistics = Statistics(snapshot.connection, snapshot.datasets)
    tasks = [*snapshot.datasets] if len(snapshot.datasets) > 1 else []
    parts = {task: statistics.answer({"task": task}) for task in ("", *tasks)}
    for found in parts.values():
        found["licences"] = public(found["licences"])
    for task in snapshot.datasets:
        parts.setdefault(task, parts[""])  # the only one
    return [*parts.items()]


def _public_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A pair as everybody may see it: see `public`. Instructions, answers and prompts are as they are."""
    shown: dict[str, Any] = public({name: value for name, value in row.items() if name not in ("examples", "steps")})
    for name in ("examples", "steps"):
        shown[name] = [
            {key: value if key in _PROSE else public(value) for key, value in one.items()} for one in row[name]
        ]
    for step in shown["steps"]:
        step["params"] = _public_json(step["params"])
    return shown


def _public_json(text: str) -> str:
    """JSON in a text, with paths taken out of its own texts."""
    try:
        return canonical_json(public(parse_json(text.encode())))
    except ValueError:
        return str(public(text))


def _pictures(
    snapshot: Snapshot, rows: Mapping[str, Mapping[str, Any]], folder: Path
) -> tuple[list[tuple[str, list[tuple[str, str]]]], list[str]]:
    """Write a small picture of each image; their names by pair and role, and what cannot be shown."""
    images: list[tuple[str, list[tuple[str, str]]]] = []
    problems: list[str] = []
    numbers = itertools.count()
    (folder / "images").mkdir()
    for key, row in rows.items():
        named = []
        for image in row["images"]:
            place = Place(dataset=snapshot.datasets[row["task"]], shard=row["shard"], image=image)
            try:
                data = _thumbnail(place)
            except (DatasetError, Reject) as error:
                problems.append(f"image {image['role']} of pair {key} cannot be shown: {error}")
                continue
            name = f"images/{next(numbers):05d}.webp"  # no name of the dataset's own
            (folder / name).write_bytes(data)
            named.append((image["role"], name))
        images.append((key, named))
    return images, problems


def _thumbnail(place: Place) -> bytes:
    """A WebP of at most SIDE_PX, without what the file said beside its pixels: where and by whom it was taken."""
    return place.thumbnail(SIDE_PX, Cache(None)).body


def _page() -> dict[str, str]:
    """The files of the page by itself, by name."""
    html = (_PAGE / "index.html").read_text()
    for line, other in _LINES.items():
        if html.count(line) != 1:
            raise ValueError(f"page/index.html has no line {line}")
        html = html.replace(line, other)
    modules = {file.name: file.read_text() for file in sorted(_PAGE.glob("*.js"))}
    return {
        "index.html": html,
        "style.css": (_PAGE / "style.css").read_text(),
        "page.js": classic(modules, "main.js"),
    }


@contextmanager
def _writing(out: Path) -> Iterator[Path]:
    """A folder beside the place, which is renamed when the block ends: at no time is half a page there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    new, old = (out.with_name(f".{out.name}-{word}-{secrets.token_hex(4)}") for word in ("new", "old"))
    new.mkdir()
    try:
        yield new
        files = sorted(str(file.relative_to(new)) for file in new.rglob("*") if file.is_file())
        (new / _LISTED).write_text(f"{json.dumps({'files': files}, indent=1)}\n")
        refuse_other(out)  # again: it took a while
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
