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
from functools import lru_cache

from operators.read.files import IMAGE_ENDINGS, RAW_ENDINGS, SourceFile, ending


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
    "before after source src orig original originals raw reference ref output outputs result results enhanced snow fog "
    "day night color rgb"
)
"""Words that may be anything where they stand alone, and are sides beside other files of the same names."""

_SIDES = DEGRADED | CLEAN | DENSE
_NOTHING_ELSE = _words_in("gt gts groundtruth groundtruths lq lr norain nohaze")
"""Words that are sides whatever is beside them: real_world_gt, SMID_LQ_np, DIV2K_train_LR_bicubic."""
_MARKING_ALL = (DEGRADED | DENSE | _NOTHING_ELSE) - _words_in("dark input inputs")
"""Words that make files those of a side where all have them: 1_rain.png, 2_rain.png."""
_FILLERS = _words_in(
    "image images img imgs photo photos picture pictures frame frames crop crops patch patches train training dir "
    "folder data set streak streaks gamma light png jpg jpeg tif srgb png8 full half sync test val valid validation "
    "real "
    "world synthetic heavy fine coarse class object ids a b c d e map maps zbuffer euclidean"
)
"""Words that are beside a side's own in the names of folders: rainy_image, input_crops, train_gt."""

_WORDS = re.compile(r"[^\W\d_]+|\d+")
_NEW_WORD = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
"""Where a word begins without a separator: gtFine, LowLight; not expertC."""
_SCALE = re.compile(r"(?<=\d)x[2348][a-z]?$")
"""What super-resolution sets put behind a name: DIV2K's 0001x2 and 0001x4m."""
_TRAINED_ON, _TESTED_ON = _words_in("train training"), _words_in("test testing val valid validation eval")
_LEAST = 2
"""Files of one name that make two folders look paired; one may be an accident, and so may fewer than half of them."""
_FOLDERS_ABOVE = 4


def side(name: str) -> str:
    """The word that makes a folder's name that of one side of pairs ("rainy" of "rainy_image"); "" if none does."""
    words = _words(name)
    found = [word for word in words if word in _SIDES]
    alone = next((word for word in words if word in _NOTHING_ELSE), "")
    return found[0] if found and all(word in _SIDES or word in _FILLERS for word in words) else alone


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
    return (
        _by_folders(images)
        or _by_folder_marks(images)
        or _by_siblings([file.path for file in listing if ending(file.path) in IMAGE_ENDINGS | RAW_ENDINGS])
        or _by_marks(images)
    )


def holds_splits(listing: Sequence[SourceFile]) -> str:
    """Two folders side by side, one to test with and one to train on, in words; "" if there are none."""
    return _by_splits([file.path for file in listing if ending(file.path) in IMAGE_ENDINGS])


def names_sides(name: str, other: str) -> bool:
    """Whether two folders side by side have the names of two sides: they differ in what marks a side, or each has a
    mark of its own and one goes on (real_world and real_world_gt, DIV2K_train_HR and DIV2K_train_LR_bicubic)."""
    (one, one_marks), (two, two_marks) = ((_bare(folder).split(), set(_marks(folder))) for folder in (name, other))
    known = _SIDES & (one_marks ^ two_marks)
    if not (one and two and known):
        return False
    both = bool(_SIDES & one_marks - two_marks and _SIDES & two_marks - one_marks)
    shorter = min(len(one), len(two))
    return one == two or (both and one[:shorter] == two[:shorter])


def is_unwanted_side(name: str, other: str) -> bool:
    """Whether a folder is one side of pairs by its name and that of one beside it, and not the clean side."""
    marks = {*_marks(name)}
    return names_sides(name, other) and not (marks and marks <= CLEAN)


def may_be_sides(name: str, other: str) -> bool:
    """Whether two folders may be sides of pairs by their names, if they have files of the same names: one is called as
    a side is, both differ in what marks a side, or in a last letter (trainA and trainB)."""
    letters = name[-1:].isalpha() and other[-1:].isalpha() and name[:-1] == other[:-1]
    marks = _marks(name) != _marks(other) and _bare(name) == _bare(other)
    called = side(name.rstrip("0123456789")) or side(other.rstrip("0123456789"))
    return name != other and bool(called or letters or marks)


def of_same_names(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether the images of two folders have the same names, what marks a side in them and the endings aside."""
    first, second = (
        {_bare(posixpath.splitext(name)[0]) for name in names if _is_image(name)} for names in (one, other)
    )
    return len(first & second) >= _LEAST and 10 * len(first & second) >= 9 * min(len(first), len(second))


def is_tested_on(name: str, others: Iterable[str]) -> bool:
    """Whether a folder is that of a test split, by its name and those beside it: test beside train, valid_HR beside
    train_HR."""
    return any(_is_other_split(name, other) for other in others)


def _is_other_split(name: str, other: str) -> bool:
    tested, trained = _words(name), _words(other)
    return bool(_TESTED_ON & {*tested} and _TRAINED_ON & {*trained}) and _unsplit(tested) == _unsplit(trained)


def _unsplit(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word not in _TRAINED_ON | _TESTED_ON)


def _is_image(path: str) -> bool:
    return ending(path) in IMAGE_ENDINGS | RAW_ENDINGS


def sides_above(root: str) -> Iterator[tuple[str, str]]:
    """The folders above a root that have the name of a side, nearest first: name, and the folder that it lies in.

    Below input/JPG/480p that is input, beside which its target may lie.
    """
    yield from ((name, folder) for name, folder in [*folders_above(root)][1:] if side(name))


def folders_above(root: str) -> Iterator[tuple[str, str]]:
    """A root and some folders above it, nearest first: name, and the folder that it lies in."""
    folder = root.rstrip("/")
    for _ in range(_FOLDERS_ABOVE + 1):
        folder, name = posixpath.split(folder)
        yield name, folder


@lru_cache(maxsize=2**17)
def _words(name: str) -> tuple[str, ...]:
    joined = (
        _NEW_WORD.sub(" ", _SCALE.sub("", name))
        .lower()
        .replace("ground_truth", "groundtruth")
        .replace("ground-truth", "groundtruth")
    )
    joined = re.sub(r"\bexpert[_ -]([a-e])\b", r"expert\1", joined.replace("ground truth", "groundtruth"))
    return tuple(_WORDS.findall(re.sub(r"\bno[_ -](rain|haze|noise)", r"no\1", joined)))


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


def _children(images: Iterable[str]) -> dict[str, set[str]]:
    """The folders in each folder."""
    children: defaultdict[str, set[str]] = defaultdict(set)
    for folder in {posixpath.dirname(path) for path in images}:
        parts = folder.split("/")
        for depth in range(len(parts) if folder else 0):
            children["/".join(parts[:depth])].add(parts[depth])
    return children


def _by_folder_marks(images: Iterable[str]) -> str:
    """Two folders side by side whose names differ in what marks a side."""
    for parent, names in sorted(_children(images).items()):
        alike: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in sorted(names):
            alike[tuple(_bare(name).split())].append(name)
        for words, those in alike.items():
            begun = [one for count in range(1, len(words) + 1) for one in alike.get(words[:count], ())]
            for one in those:
                if other := next((other for other in begun if names_sides(one, other)), ""):
                    shown = (f"{parent}/{name}/".lstrip("/") for name in (one, other))
                    return "{} and {} in it have the names of two sides of pairs".format(*shown)
    return ""


def _by_splits(images: Iterable[str]) -> str:
    """A folder to test with beside the one to train on."""
    for parent, names in sorted(_children(images).items()):
        trained = {_unsplit(_words(name)): name for name in sorted(names) if _TRAINED_ON & {*_words(name)}}
        for name in sorted(names):
            other = trained.get(_unsplit(_words(name)), "") if _TESTED_ON & {*_words(name)} else ""
            if other and other != name:
                shown = (f"{parent}/{one}/".lstrip("/") for one in (name, other))
                return "{} in it is to test with, beside {}: point DATA at what is to be trained on".format(*shown)
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
    return _by_nephews(images)


def _by_nephews(images: Iterable[str]) -> str:
    """Two folders with files of the same names, of which the path of one has one folder more: photos/ and
    photos/edited/, coco/train/ and coco/maps/train/."""
    inside: defaultdict[str, list[str]] = defaultdict(list)
    for path in images:
        inside[posixpath.dirname(path)].append(posixpath.basename(path))
    for folder in sorted(inside):
        parts = folder.split("/") if folder else []
        for place in range(len(parts)):
            nearer = "/".join(parts[:place] + parts[place + 1 :])
            if nearer in inside and of_same_names(inside[folder], inside[nearer]):
                return f"{folder}/ in it has files of the same names as {nearer + '/' if nearer else 'it has itself'}"
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
    return _by_degraded_names(by_folder) or _by_twins(by_folder)


def _by_degraded_names(by_folder: dict[str, list[str]]) -> str:
    """A folder whose files are all marked as the degraded side: 1_rain.png and 2_rain.png, low00001.png and so on."""
    for folder, stems in sorted(by_folder.items()):
        counts = Counter(word for stem in stems for word in {*_words(stem)} & _MARKING_ALL)
        for word, count in counts.most_common(1):
            if count >= _LEAST and 10 * count >= 9 * len(stems):
                where = f" of {folder}/" if folder else ""
                return f"files{where} in it are named as one side of pairs, as {min(stems)}: {word}"
    return ""


def _by_twins(by_folder: dict[str, list[str]]) -> str:
    """Files in one folder that come two by two: x.jpg and x.png, x and x-Edit, x_A and x_B."""
    for folder, stems in sorted(by_folder.items()):
        twins = _twins(stems)
        if len(twins) >= _LEAST and 4 * len(twins) >= len(stems):  # half of the files
            where = f" of {folder}/" if folder else ""
            one, other = twins[0]
            shown = f"{one} and {other}" if one != other else f"two images called {one}"
            return f"files{where} in it come two by two, as {shown}"
    return ""


def _twins(stems: Sequence[str]) -> list[tuple[str, str]]:
    """The most names of a folder that are twins in one and the same way."""
    same = [(stem, stem) for stem, count in Counter(stems).items() if count == 2]
    ways: defaultdict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    there = {tuple(_words(stem)): stem for stem in sorted({*stems})}
    last: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    for words, stem in there.items():
        last[words[:-1]].add(words[-1] if words else "")
        for count in range(1, len(words)):
            if words[:count] in there:
                ways[words[count:]].append((there[words[:count]], stem))
    for rest, ends in last.items():
        if len(ends) == 2 and rest and not any(end.isdigit() for end in ends):
            one, other = sorted(ends)
            ways[one, other, ""].append((there[*rest, one], there[*rest, other]))
    return max([same, *ways.values()], key=len)


def _are_sides(marked: Iterable[tuple[str, ...]]) -> bool:
    """Whether names that are alike are marked as sides: one as a known one, or two as something or other."""
    marks = [mark for mark in marked if mark]
    return len([*marked]) > 1 and (any(_SIDES & set(mark) for mark in marks) or len(marks) > 1)


def _marks(stem: str) -> tuple[str, ...]:
    return tuple(sorted(word for word in _words(stem) if word in _SIDES or word in _ONLY_TOGETHER))


@lru_cache(maxsize=2**17)
def _bare(stem: str) -> str:
    """A name without what marks a side in it."""
    return " ".join(word for word in _words(stem) if word not in _SIDES and word not in _ONLY_TOGETHER)
