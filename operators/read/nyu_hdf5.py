"""Reads NYU Depth v2 from HDF5: the labelled set in one MATLAB file, and the frames of FastDepth, one file each."""

from __future__ import annotations

import io
import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from manifests.images.pixels import MAX_BYTES, NEW_IMAGE_FORMAT, encode_lossless
from manifests.schema import Item, Pair, Reject, Step, pair_key
from operators.arrange.dense import depth_target, read_step
from operators.read.files import SourceFile, list_files, open_file, read_file, read_list, too_large
from operators.read.split import TRAIN, places_below

if TYPE_CHECKING:
    import h5py

_LABELED = "nyu_depth_v2_labeled.mat"
_SPLITS = "splits.mat"
_LICENCE = "none stated; research use"


@dataclass(frozen=True, kw_only=True)
class NyuLabeled:
    """The 795 training images of nyu_depth_v2_labeled.mat, read one by one in place; its 3 GB are never loaded whole.

    The other 654 are the benchmark's test images (paper Tab. 1), read as another split. splits.mat beside the file
    tells which they are, and without it nothing is read.

    Images become lossless files, depths 16-bit PNG in millimetres.
    """

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: str = "NYU Depth v2 labelled"
    licence: str = _LICENCE
    root: str = ""
    depths: str = "rawDepths"
    """"rawDepths" as measured, with holes, or "depths" with the holes filled in by colour."""
    split: str = TRAIN
    """What the dataset is read for: TRAIN, or the name of a test split (operators/read/split.py)."""

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        names = {file.path for file in listing}
        if _LABELED not in names:
            return None
        if _SPLITS not in names:
            raise ValueError(
                f"DATA: {root} has {_LABELED} but not {_SPLITS}, which tells the benchmark's test images apart; it is "
                "on the same page, https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
            )
        return replace(self, root=root)

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        size = next(file.bytes for file in listing if file.path == _LABELED)
        from scipy.io import loadmat

        splits = loadmat(io.BytesIO(read_list(self.root, _SPLITS)))
        for number in sorted(int(number) for number in splits["trainNdxs" if self.split == TRAIN else "testNdxs"].flat):
            # MATLAB counts from 1; the number in the reference counts from 0, as BTS's file names do.
            yield Item(ref=f"{_LABELED}#{number - 1}", files=(_LABELED,), index=number - 1, bytes=size)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"input": NEW_IMAGE_FORMAT, "target": NEW_IMAGE_FORMAT}

    def read(self, item: Item, task: str) -> Pair:
        path, index = item.files[0], item.index
        with _damage_as_reject(item.ref):
            file = _open(self.root, path)
            # HDF5 shows MATLAB's axes reversed: N x C x W x H and N x W x H.
            images, depths, scene = file["images"], file[self.depths], file[file["scenes"][0, index]]
            for values, shape in ((images, images.shape[1:]), (depths, depths.shape[1:]), (scene, scene.shape)):
                _refuse_large(values, item.ref, shape)
            rgb, depth_m, name = images[index].transpose(2, 1, 0), depths[index].T, "".join(map(chr, np.ravel(scene)))
        return _pair(self, item, task, name, rgb, depth_m, depths=self.depths)


@dataclass(frozen=True, kw_only=True)
class NyuFrames:
    """FastDepth's frames: train/<scene>/<number>.h5 with "rgb" (3 x H x W) and "depth" (H x W, metres).

    With its 47,584 training frames this is the NYU-v2 of the paper's Tab. 6 (48K).
    """

    version: ClassVar[int] = 1
    paired: ClassVar[bool] = True
    contiguous: ClassVar[bool] = False
    source: str = "NYU Depth v2 frames"
    licence: str = _LICENCE
    root: str = ""
    nested: tuple[str, ...] = ("", "train", "nyudepthv2/train")
    split: str = TRAIN
    """What the dataset is read for: TRAIN, or the name of a test split (operators/read/split.py)."""

    def listing(self) -> Sequence[SourceFile]:
        return list_files(self.root)

    def located(self, root: str, listing: Sequence[SourceFile]) -> Self | None:
        for folder in places_below(root, self.nested):
            if any(_is_frame(file.path, folder) for file in listing):
                return replace(self, root=f"{root.rstrip('/')}/{folder}".rstrip("/"))
        return None

    def items(self, listing: Sequence[SourceFile]) -> Iterator[Item]:
        for file in listing:
            if _is_frame(file.path, ""):
                yield Item(ref=file.path, files=(file.path,), bytes=file.bytes)

    def suffixes(self, items: Sequence[Item]) -> Mapping[str, str]:
        return {"input": NEW_IMAGE_FORMAT, "target": NEW_IMAGE_FORMAT}

    def read(self, item: Item, task: str) -> Pair:
        data = read_file(self.root, item.files[0])
        import h5py

        with _damage_as_reject(item.ref), h5py.File(io.BytesIO(data), "r") as file:
            for values in (file["rgb"], file["depth"]):
                _refuse_large(values, item.ref, values.shape)
            rgb, depth_m = file["rgb"][()].transpose(1, 2, 0), file["depth"][()]
        return _pair(self, item, task, posixpath.dirname(item.ref), rgb, depth_m)


def _is_frame(path: str, folder: str) -> bool:
    """<folder>/<scene>/<number>.h5; the folders train and val, one level up, are not scenes."""
    prefix = f"{folder}/" if folder else ""
    scene, slash, name = path.removeprefix(prefix).partition("/")
    return path.startswith(prefix) and bool(slash) and "/" not in name and name.endswith(".h5") and bool(scene)


def _pair(
    reader: NyuLabeled | NyuFrames,
    item: Item,
    task: str,
    scene: str,
    rgb: npt.NDArray[np.uint8],
    depth_m: npt.NDArray[np.floating[Any]],
    **params: str,
) -> Pair:
    """The pair of H x W x 3 bytes and H x W metres."""
    if rgb.dtype != np.uint8 or rgb.shape != (*depth_m.shape, 3):
        found = f"{rgb.dtype} {rgb.shape} and {depth_m.shape}"
        raise Reject("wrong_values", f"{item.ref}: 8-bit RGB and depth of one size are expected, there is {found}")
    rgb, depth_m = np.ascontiguousarray(rgb), np.ascontiguousarray(depth_m)
    return Pair(
        key=pair_key(task, item.ref, rgb.tobytes(), depth_m.tobytes()),
        source=reader.source,
        source_ref=item.ref,
        licence=reader.licence,
        images=(encode_lossless("input", rgb), depth_target(depth_m)),
        group=scene,
        steps=(Step(operator="from_hdf5", version=1, params=params), read_step("depth_mm")),
    )


def _refuse_large(values: h5py.Dataset, ref: str, shape: Sequence[int]) -> None:
    """Raises Reject, too_large, if so much of a file's values is larger than any image, or one of their chunks is,
    which is decoded whole: a file of some kilobytes may say that it holds terabytes.
    """
    size = max(math.prod(shape), math.prod(values.chunks or ())) * values.dtype.itemsize
    if size > MAX_BYTES:
        raise too_large(f"{ref}: {values.name}", size)


@contextmanager
def _damage_as_reject(ref: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, ValueError, IndexError) as error:
        raise Reject("damaged", f"{ref}: {error}") from error
    except OSError as error:
        # HDF5 raises a bare OSError for what does not decode; what disks and networks raise says more.
        if type(error) is not OSError or error.errno is not None:
            raise
        raise Reject("damaged", f"{ref}: {error}") from error


@lru_cache(maxsize=1)
def _open(root: str, path: str) -> h5py.File:
    import h5py  # here and above, as scipy: every worker of every task would take a fifth of a second for them

    return h5py.File(open_file(root, path), "r")
