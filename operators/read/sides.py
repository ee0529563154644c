"""Tells folders that hold pairs of images, in whatever layout, from folders of photos.

A folder of pairs that is taken for photos makes wrong training data without a word: rainy and dark images become
targets. So what looks paired is never taken for photos by itself. It is told by the names that the sides of published
pairs have, and by files of the same names side by side.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from operators.read.files import IMAGE_ENDINGS, SourceFile, ending


def _words_in(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEGRADED = _words_in(
    "input inputs low lowlight lowlights dark blur blurs blurry blurred rain rains rainy noise noises noisy haze "
    "hazy foggy snowy lq lr degraded distorted corrupted underexposed raindrop rainstreak"
)
"""Words for the degraded side: of Rain13K, LOL, GoPro, SIDD, RESIDE and their like."""

CLEAN = _words_in(
    "target targets high highlight normal gt gts groundtruth groundtruths truth sharp norain derained clean cleans "
    "clear hq hr nohaze dehazed nonoise denoised deblurred experta expertb expertc expertd experte expert retouched "
    "edited label labels"
)
"""Words for the side that is wanted."""

DENSE = _words_in(
    "annotation annotations mask masks depth depths normals seg segs segmentation segmentations disparity "
    "disparities parse densepose edge edges sketch sketches"
)
"""Words for the side that is no picture."""

_ONLY_TOGETHER = _words_in(
    "before after source src original originals raw reference ref output outputs result results enhanced snow fog "
    "day night color rgb"
)
"""Words that may be anything where they stand alone, and are sides beside other files of the same names."""

_SIDES = DEGRADED | CLEAN | DENSE
_FILLERS = _words_in(
    "image images img imgs photo photos picture pictures frame frames crop crops patch patches train training dir "
    "folder data set streak streaks gamma light png jpg jpeg tif srgb png8 full half sync"
)
"""Words that are beside a side's own in the names of folders: rainy_image, input_crops, train_gt."""

_WORDS = re.compile(r"[^\W\d_]+|\d+")
_LEAST = 2
"""Files of one name that make two folders look paired; one may be an accident, and so may fewer than half of them."""
_FOLDERS_ABOVE = 4


def side(name: str) -> str:
    """The word that makes a folder's name that of one side of pairs ("rainy" of "rainy_image"); "" if none does."""
    words = _words(name)
    found = [word for word in words if word in _SIDES]
    return found[0] if found and all(word in _SIDES or word in _FILLERS for word in words) else ""


def looks_paired(root: str, listing: Sequence[SourceFile]) -> str:
    """What makes a folder look like one of pairs, or of one side of pairs, in words; "" for a folder of photos.

    `listing` has all files below the root; those that are no images by their endings are not looked at.
    """
    images = [file.path for file in listing if ending(file.path) in IMAGE_ENDINGS]
    own = posixpath.basename(root.rstrip("/"))
    if side(own):
        return (
            f"its name, {own}, is that of one side of pairs: point DATA at the folder above it, if the other lies there"
        )
    return _by_folders(images) or _by_siblings(images) or _by_marks(images)


def sides_above(root: str) -> Iterator[tuple[str, str]]:
    """The folders above a root that have the name of a side, nearest first: name, and the folder that it lies in.

    Below input/JPG/480p that is input, beside which its target may lie.
    """
    folder = posixpath.dirname(root.rstrip("/"))
    for _ in range(_FOLDERS_ABOVE):
        folder, name = posixpath.split(folder)
        if side(name):
            yield name, folder


def _words(name: str) -> list[str]:
    joined = name.lower().replace("ground_truth", "groundtruth").replace("ground-truth", "groundtruth")
    joined = joined.replace("ground truth", "groundtruth")
    return _WORDS.findall(re.sub(r"\bno[_ -](rain|haze|noise)", r"no\1", joined))


def _by_folders(images: Iterable[str]) -> str:
    """A folder that is called as a side is."""
    seen = set()
    for path in images:
        folder = posixpath.dirname(path)
        if folder in seen:
            continue
        seen.add(folder)
        parts = folder.split("/")
        for place, name in enumerate(parts):
            if side(name):
                shown = "/".join(parts[: place + 1])
                return f"{shown}/ in it has the name of one side of pairs"
    return ""


def _by_siblings(images: Iterable[str]) -> str:
    """Two folders side by side with files of the same names, what marks a side in them and the endings aside."""
    names: defaultdict[str, dict[str, set[str]]] = defaultdict(dict)
    for path in images:
        parts = posixpath.splitext(path)[0].split("/")
        for depth in range(len(parts) - 1):
            below = "/".join([*parts[depth + 1 : -1], _bare(parts[-1])])
            names["/".join(parts[:depth])].setdefault(parts[depth], set()).add(below)
    for parent in sorted(names):
        if found := _alike(names[parent]):
            one, other = (f"{parent}/{name}/".lstrip("/") for name in found)
            return f"{one} and {other} in it have files of the same names"
    return ""


def _alike(siblings: dict[str, set[str]]) -> tuple[str, str] | None:
    """The first two folders of which the smaller has at least half of its names in common with the other."""
    first_with: dict[str, str] = {}
    common: Counter[tuple[str, str]] = Counter()
    for folder in sorted(siblings):
        for name in siblings[folder]:
            other = first_with.setdefault(name, folder)
            if other != folder:
                common[other, folder] += 1
    for (one, other), count in sorted(common.items()):
        if count >= _LEAST and 2 * count >= min(len(siblings[one]), len(siblings[other])):
            return one, other
    return None


def _by_marks(images: Iterable[str]) -> str:
    """Files in one folder whose names differ only in what marks a side: rain-001 and norain-001, x and x_seg."""
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for path in images:
        by_folder[posixpath.dirname(path)].append(posixpath.splitext(posixpath.basename(path))[0])
    for folder in sorted(by_folder):
        kinds: defaultdict[str, dict[tuple[str, ...], str]] = defaultdict(dict)
        for stem in by_folder[folder]:
            kinds[_bare(stem)].setdefault(_marks(stem), stem)
        pairs = [of_one for of_one in kinds.values() if _are_sides(of_one)]
        if 2 * sum(map(len, pairs)) >= len(by_folder[folder]) and pairs:
            one, other = sorted(pairs[0].values())[:2]
            where = f" of {folder}/" if folder else ""
            return f"files{where} in it have the names of pairs, as {one} and {other}"
    return ""


def _are_sides(marked: Iterable[tuple[str, ...]]) -> bool:
    """Whether names that are alike are marked as sides: one as a known one, or two as something or other."""
    marks = [mark for mark in marked if mark]
    return len([*marked]) > 1 and (any(_SIDES & set(mark) for mark in marks) or len(marks) > 1)


def _marks(stem: str) -> tuple[str, ...]:
    return tuple(sorted(word for word in _words(stem) if word in _SIDES or word in _ONLY_TOGETHER))


def _bare(stem: str) -> str:
    """A name without what marks a side in it."""
    return " ".join(word for word in _words(stem) if word not in _SIDES and word not in _ONLY_TOGETHER)
