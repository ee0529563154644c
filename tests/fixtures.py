"""Writes every layout of pipelines/sources/datasets.py, small: real photos and real depth from scikit-image, a few
pairs each.

A writer fills a folder as the dataset's publisher does, with something damaged where that is natural, and says what
its reader is to make of it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import skimage.data
from PIL import Image as PILImage
from scipy.io import savemat

from manifests.images.pixels import Pixels
from pipelines.sources import datasets as sources
from pipelines.sources.source import Source
from tests.sources import (
    HEIGHT_PX,
    WIDTH_PX,
    encode,
    encode_image,
    jpeg,
    photo,
    rainy_jpeg,
    write_files,
    write_photos,
    write_rain13k,
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a reader makes of a fixture: how many items are pairs, and how many it rejects, by reason."""

    pairs: int
    rejects: Mapping[str, int] = field(default_factory=dict)


def write_dfwb(root: Path) -> Written:
    folders = {"DIV2K": "PNG", "Flickr2K": "PNG", "WaterlooED": "BMP", "BSD400": "JPEG"}
    files = {
        f"{folder}/{index + 1:05d}.{kind.lower().replace('jpeg', 'jpg')}": encode(photo(10 * place + index), kind)
        for place, (folder, kind) in enumerate(folders.items())
        for index in range(2)
    }
    write_files(root, files | {"DIV2K/readme.txt": b"not a photo"})
    return Written(pairs=8, rejects={"not_image": 1})


def write_dfwb_crops(root: Path) -> Written:
    write_files(root / "train/DFWB", {f"DIV2K-0001-{index + 1}.png": encode(photo(index)) for index in range(4)})
    return Written(pairs=4)


def write_gopro(root: Path) -> Written:
    """Two training sequences and a test one. Frames do not start at 1, and one has lost its sharp image."""
    files = {}
    for place, sequence in enumerate(("train/GOPR0372_07_00", "train/GOPR0374_11_01", "test/GOPR0384_11_00")):
        for index in range(4):
            name = f"{47 + 7 * index:06d}.png"
            sharp = photo(8 * place + index + 2)  # not photo 1, which is too plain for blur to be seen
            files[f"{sequence}/sharp/{name}"] = encode(sharp)
            files[f"{sequence}/blur/{name}"] = encode(_blurred(sharp))
            files[f"{sequence}/blur_gamma/{name}"] = encode(_blurred(sharp) // 2 + 64)
    del files["train/GOPR0374_11_01/sharp/000054.png"]
    write_files(root / "GOPRO_Large", files)
    return Written(pairs=7, rejects={"no_target": 1})


def write_gopro_crops(root: Path) -> Written:
    return _write_gopro_flat(root / "train/GoPro", "input_crops", "target_crops", "-1")


def write_gopro_flat(root: Path) -> Written:
    return _write_gopro_flat(root / "train", "input", "target", "")


def _write_gopro_flat(folder: Path, before: str, after: str, crop: str) -> Written:
    names = [f"GOPR0{372 + index % 2}_07_00-{47 + index:06d}{crop}.png" for index in range(4)]
    write_files(folder, {f"{before}/{name}": encode(_blurred(photo(index + 2))) for index, name in enumerate(names)})
    write_files(folder, {f"{after}/{name}": encode(photo(index + 2)) for index, name in enumerate(names)})
    return Written(pairs=4)


def write_rain(root: Path) -> Written:
    write_rain13k(root / "train/Rain13K", 6)
    write_files(root / "train/Rain13K", {"input/7.jpg": b"", "target/7.jpg": jpeg(7)})
    return Written(pairs=6, rejects={"empty": 1})


def write_fivek_480p(root: Path) -> Written:
    write_files(root, {"train_input.txt": b"a0001-jmac_DSC1459\n", "test.txt": b"a0004-x.y (2)\n"})
    return _write_fivek(root, "input/JPG/480p", "expertC/JPG/480p")


def write_fivek_expert_c(root: Path) -> Written:
    return _write_fivek(root, "input", "expertC")


def write_fivek_retinexformer(root: Path) -> Written:
    _write_fivek(root / "FiveK/test", "input", "target")
    return _write_fivek(root / "FiveK/train", "input", "target")


def _write_fivek(root: Path, before: str, after: str) -> Written:
    names = ["a0001-jmac_DSC1459", "a0002-dgw_005", "a0099-kme_264", "a0004-x.y (2)"]
    write_files(root, {f"{before}/{name}.jpg": rainy_jpeg(index) for index, name in enumerate(names)})
    write_files(root, {f"{after}/{name}.jpg": jpeg(index) for index, name in enumerate(names)})
    return Written(pairs=4)


def write_lol_v1(root: Path) -> Written:
    for folder, names in {"our485": (1, 10, 100, 79), "eval15": (111, 146)}.items():
        write_files(root / folder, {f"low/{name}.png": encode(photo(name) // 6) for name in names})
        write_files(root / folder, {f"high/{name}.png": encode(photo(name)) for name in names})
    return Written(pairs=4)


def write_lol_v1_retinexformer(root: Path) -> Written:
    write_files(root / "LOLv1/Train", {f"input/{name}.png": encode(photo(name) // 6) for name in range(4)})
    write_files(root / "LOLv1/Train", {f"target/{name}.png": encode(photo(name)) for name in range(4)})
    return Written(pairs=4)


def write_lol_v2_real(root: Path) -> Written:
    """As published, the names of a pair differ: low00001.png and normal00001.png."""
    _write_lol_v2(root / "LOL-v2/Real_captured/Test", [("low00690", "normal00690")])
    return _write_lol_v2(root / "LOL-v2/Real_captured/Train", [(f"low{n:05d}", f"normal{n:05d}") for n in range(1, 5)])


def write_lol_v2_real_repacked(root: Path) -> Written:
    return _write_lol_v2(root / "Real_captured/Train", [(f"{n:05d}", f"{n:05d}") for n in range(1, 5)])


def write_lol_v2_synthetic(root: Path) -> Written:
    return _write_lol_v2(root / "LOL-v2/Synthetic/Train", [(f"r000da5{n}t", f"r000da5{n}t") for n in "abcd"])


def _write_lol_v2(folder: Path, names: Sequence[tuple[str, str]]) -> Written:
    write_files(folder, {f"Low/{low}.png": encode(photo(index) // 6) for index, (low, _) in enumerate(names)})
    write_files(folder, {f"Normal/{normal}.png": encode(photo(index)) for index, (_, normal) in enumerate(names)})
    return Written(pairs=len(names))


LAION_ROWS: Sequence[tuple[str, float | None, str | None]] = (
    *(("success", 6.0 + 0.25 * index, f"A photo, number {index}.") for index in range(1, 6)),
    ("failed_to_download", 6.9, "HTTP Error 404"),
    ("success", 6.0, "Not above the threshold."),
    ("success", 5.2, "Not pretty."),
    ("success", None, "Without a score."),
    ("failed_to_resize", 5.0, "Image decoding error"),
    ("success", 8.0, "Its image is missing in the tar."),
    ("success", 8.5, None),
)
"""Status, score and caption of each row of a shard that `write_laion` writes. The last one's image is cut off."""


def write_laion(root: Path, score: str = "aesthetic") -> Written:
    """Two shards, one of which img2dataset has not finished; rows in the order of completion, groups of 4."""
    order = [3, 0, 1, 5, 2, 4, 6, 7, 8, 9, 10, 11]
    keys = [f"00000{index:04d}" for index in order]
    rows = [LAION_ROWS[index] for index in order]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for key, (status, _, caption) in zip(keys, rows, strict=True):
            if status == "success" and "missing" not in (caption or ""):
                _add(tar, f"{key}.jpg", jpeg(int(key)))
                _add(tar, f"{key}.json", json.dumps({"key": key}).encode())
                _add(tar, f"{key}.txt", (caption or "").encode())
    last = jpeg(int(keys[-1]))
    whole = buffer.getvalue()
    write_files(root, {"00000.tar": whole[: whole.index(last) + len(last) // 2], "00000_stats.json": b"{}"})
    table = pa.table(
        {
            score: pa.array([row[1] for row in rows], pa.float32()),
            "caption": pa.array([row[2] for row in rows], pa.string()),
            "url": [f"https://example.org/{key}.jpg" for key in keys],
            "key": keys,
            "status": [row[0] for row in rows],
        }
    )
    pq.write_table(table, root / "00000.parquet", row_group_size=4)
    write_files(root, {"00001.tar": whole[:700]})
    return Written(pairs=5, rejects={"missing_member": 1, "damaged": 1})


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    header = tarfile.TarInfo(name)
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))


def write_ultraedit(root: Path) -> Written:
    """Two files with columns of Arrow's null type. Two rows edit one image; one has lost its edited image."""
    for number in range(2):
        rows: list[dict[str, Any]] = [
            {
                "clip_sim_source": 0.25,
                "clip_sim_dir": 0.2 + 0.01 * index,
                "dinov2_sim": float("nan") if index == 2 else 0.9,
                "ssim": 0.7,
                "source_caption": f"A photo, number {index}.",
                "target_caption": f"A pale photo, number {index}.",
                "idx": index,
                "edit_prompt": f"make photo {index} pale",
                "edit_object": None,
                "source_image": _hub_image(jpeg(10 * number + index // 2), f"{index}.jpg"),
                "edited_image": _hub_image(None if index == 3 else rainy_jpeg(10 * number + index), f"{index}.jpg"),
                "mask_image": None,
            }
            for index in range(4)
        ]
        _write_hub(root / f"data/FreeForm-{number:05d}-of-00002.parquet", rows, 2)
    return Written(pairs=6, rejects={"no_target": 2})


def write_ultraedit_region(root: Path) -> Written:
    """A file of edits by regions: black and white masks as JPEG, and a row without a mask."""
    mask = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    mask[8:24, 16:40] = 255
    rows = [
        {
            "clip_sim_source": 0.25,
            "source_caption": "A photo.",
            "target_caption": "A pale photo.",
            "edit_prompt": f"make photo {index} pale",
            "edit_object": "the middle",
            "source_image": _hub_image(jpeg(index), f"{index}.jpg"),
            "edited_image": _hub_image(rainy_jpeg(index), f"{index}.jpg"),
            "mask_image": _hub_image(None if index == 2 else encode(mask, "JPEG", quality=90), f"{index}.jpg"),
        }
        for index in range(3)
    ]
    _write_hub(root / "data/RegionBase-00000-of-00001.parquet", rows, 2)
    return Written(pairs=3)


def _with_hole(pixels: Pixels, scale: int) -> bytes:
    """A photo enlarged by a factor, as RGBA, transparent in the middle."""
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[10:30, 12:36] = 0
    return encode(np.dstack([pixels, alpha]).repeat(scale, axis=0).repeat(scale, axis=1))


def write_magicbrush(root: Path) -> Written:
    """Sessions of 3, 1 and 2 turns; the last one goes on in the second file. Also the benchmark's dev split."""
    turns = [("100", 1), ("100", 2), ("100", 3), ("200", 1), ("300", 1), ("300", 2)]
    rows = [
        {
            "img_id": session,
            "turn_index": turn,
            "source_img": _hub_image(encode(photo(int(session)) // turn), f"{session}-input.png"),
            "mask_img": _hub_image(_with_hole(photo(int(session)), 1 + turn // 2), f"{session}-mask{turn}.png"),
            "instruction": f"make it darker, step {turn}",
            "target_img": _hub_image(encode(photo(int(session)) // (turn + 1)), f"{session}-output{turn}.png"),
        }
        for session, turn in turns
    ]
    _write_hub(root / "data/train-00000-of-00002-0123456789abcdef.parquet", rows[:5], 2)
    _write_hub(root / "data/train-00001-of-00002-fedcba9876543210.parquet", rows[5:], 2)
    _write_hub(root / "data/dev-00000-of-00001-0000000000000000.parquet", rows, 2)
    return Written(pairs=6)


def write_instructpix2pix(root: Path) -> Written:
    """The first four files, 80 rows each, of which half add or remove an object."""
    said = (
        "add a hat number {}",
        "make it look like winter {}",
        "remove the cup number {}",
        "turn photo {} into a sketch",
    )
    for number in range(4):
        rows: list[dict[str, Any]] = [
            {
                "original_prompt": f"photo {index} of {number}",
                "original_image": _hub_image(jpeg(80 * number + index), f"{index}_0.jpg"),
                "edit_prompt": said[index % 4].format(index),
                "edited_prompt": f"edited photo {index} of {number}",
                "edited_image": _hub_image(rainy_jpeg(80 * number + index), f"{index}_1.jpg"),
            }
            for index in range(80)
        ]
        _write_hub(root / f"data/train-{number:05d}-of-00262-{number:016x}.parquet", rows, 40)
    return Written(pairs=100)


def _hub_image(data: bytes | None, path: str) -> dict[str, Any]:
    return {"bytes": data, "path": path if data else None}


def _write_hub(path: Path, rows: Sequence[Mapping[str, Any]], row_group_size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=row_group_size, compression="none")


def write_nyu_sync(root: Path) -> Written:
    """Two scenes, and a frame whose depth is a picture of the depth."""
    files = {}
    for place, scene in enumerate(("kitchen_0028b", "bedroom_0004")):
        for index in range(3):
            files[f"{scene}/rgb_{index:05d}.jpg"] = jpeg(10 * place + index)
            files[f"{scene}/sync_depth_{index:05d}.png"] = encode_image(PILImage.fromarray(depth_mm(index)))
    files["bedroom_0004/sync_depth_00001.png"] = encode(photo(0))
    files["bedroom_0004/sync_depth_00002.png"] = b"cut off before it began"
    write_files(root / "sync", files)
    return Written(pairs=4, rejects={"wrong_values": 1, "not_image": 1})


NYU_TRAIN = (1, 3, 4, 6)
"""MATLAB's numbers of the labelled images that are for training."""
NYU_DAMAGED = 4


def write_nyu_labeled(root: Path) -> Written:
    """Six images in MATLAB's axes, 2 of them for testing, one with bytes that do not decompress."""
    root.mkdir(parents=True, exist_ok=True)
    path, numbers = root / "nyu_depth_v2_labeled.mat", range(6)
    with h5py.File(path, "w") as file:
        images = np.stack([photo(index).transpose(2, 1, 0) for index in numbers])
        stored = file.create_dataset("images", data=images, chunks=(1, *images.shape[1:]), compression="gzip")
        depths_m = np.stack([depth_mm(index).T / np.float32(1000) for index in numbers])
        file.create_dataset("rawDepths", data=depths_m.astype(np.float32))
        file.create_dataset("depths", data=np.where(depths_m > 0, depths_m, 3).astype(np.float32))
        scenes = file.create_dataset("scenes", (1, 6), dtype=h5py.ref_dtype)
        for index in numbers:
            name = np.array([[ord(letter)] for letter in f"kitchen_000{index // 2}"], np.uint16)
            scenes[0, index] = file.create_dataset(f"#refs#/{index}", data=name).ref
        damaged = stored.id.get_chunk_info(NYU_DAMAGED - 1).byte_offset
    with open(path, "r+b") as raw:
        raw.seek(damaged)
        raw.write(bytes(64))
    savemat(root / "splits.mat", {"trainNdxs": np.array([[n] for n in NYU_TRAIN]), "testNdxs": np.array([[2], [5]])})
    return Written(pairs=3, rejects={"damaged": 1})


def write_nyu_frames(root: Path) -> Written:
    for place, name in enumerate(("train/attic_0001/00001", "train/attic_0001/00006", "train/study_0008/00001")):
        path = root / f"nyudepthv2/{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["rgb"] = photo(place).transpose(2, 0, 1)
            file["depth"] = depth_mm(place) / np.float32(1000)
    write_files(root / "nyudepthv2", {"train/study_0008/00006.h5": b"cut off", "val/official/00001.h5": b""})
    return Written(pairs=3, rejects={"damaged": 1})


def write_ade20k(root: Path) -> Written:
    """Classes by brightness. One annotation is RGB, as in the full ADE20K, and one is missing."""
    files = {}
    for split, name in (("training", "ADE_train"), ("validation", "ADE_val")):
        for index in range(1, 7):
            files[f"images/{split}/{name}_{index:08d}.jpg"] = jpeg(index)
            labels = (photo(index)[:, :, 0] // 32 * 18).astype(np.uint8)
            files[f"annotations/{split}/{name}_{index:08d}.png"] = encode(labels)
    files["annotations/training/ADE_train_00000002.png"] = encode(photo(2))
    del files["annotations/training/ADE_train_00000003.png"]
    write_files(root / "ADEChallengeData2016", files)
    return Written(pairs=4, rejects={"wrong_values": 1, "no_target": 1})


def write_scannet(root: Path) -> Written:
    """Two scans of one room and one of another, with the mask of each frame and a file that we do not read."""
    files = {}
    for place, scene in enumerate(("scene0016_00", "scene0016_02", "scene0700_01")):
        for index in range(2):
            stem = f"{scene}/frame-{10 * index:06d}"
            files[f"{stem}-color.png"] = encode(photo(10 * place + index))
            files[f"{stem}-normal.png"] = encode(normals_rgb(index))
            files[f"{stem}-orient.png"] = encode(photo(index))
            files[f"{stem}-orient-mask.png"] = encode(np.full((HEIGHT_PX, WIDTH_PX), 255, np.uint8))
    files["scene0700_01/frame-000010-color.png"] = b""
    write_files(root / "scannet-frames", files)
    return Written(pairs=5, rejects={"empty": 1})


def write_viton_hd(root: Path) -> Written:
    """Five lines, each with another garment for the unpaired setting; one photo has lost its garment."""
    names = [f"{index:05d}_00" for index in range(5)]
    lines = [f"{name}.jpg {other}.jpg\n" for name, other in zip(names, names[1:] + names[:1], strict=True)]
    files = {"train_pairs.txt": "".join(lines).encode()}
    for index, name in enumerate(names):
        person, mask = photo(index), np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
        files[f"train/image/{name}.jpg"] = encode(person, "JPEG")
        person[10:30, 10:30], mask[10:30, 10:30] = 128, 255
        files[f"train/agnostic-v3.2/{name}.jpg"] = encode(person, "JPEG")
        files[f"train/cloth/{name}.jpg"] = rainy_jpeg(index)
        files[f"train/agnostic-mask/{name}_mask.png"] = encode(mask)
    del files["train/cloth/00003_00.jpg"]
    write_files(root, files)
    return Written(pairs=4, rejects={"no_cloth": 1})


FIXTURES: Mapping[str, tuple[Source, Callable[[Path], Written]]] = {
    "dfwb": (sources.DFWB, write_dfwb),
    "dfwb_crops": (sources.DFWB_CROPS, write_dfwb_crops),
    "gopro": (sources.GOPRO, write_gopro),
    "gopro_gamma": (sources.GOPRO_GAMMA, write_gopro),
    "gopro_crops": (sources.GOPRO_CROPS, write_gopro_crops),
    "gopro_flat": (sources.GOPRO_FLAT, write_gopro_flat),
    "rain13k": (sources.RAIN13K, write_rain),
    "fivek_480p": (sources.FIVEK_480P, write_fivek_480p),
    "fivek_expert_c": (sources.FIVEK_EXPERT_C, write_fivek_expert_c),
    "fivek_retinexformer": (sources.FIVEK_RETINEXFORMER, write_fivek_retinexformer),
    "lol_v1": (sources.LOL_V1, write_lol_v1),
    "lol_v1_retinexformer": (sources.LOL_V1_RETINEXFORMER, write_lol_v1_retinexformer),
    "lol_v2_real": (sources.LOL_V2_REAL, write_lol_v2_real),
    "lol_v2_real_repacked": (sources.LOL_V2_REAL, write_lol_v2_real_repacked),
    "lol_v2_synthetic": (sources.LOL_V2_SYNTHETIC, write_lol_v2_synthetic),
    "laion": (sources.LAION_AESTHETICS, write_laion),
    "ultraedit": (sources.ULTRAEDIT, write_ultraedit),
    "ultraedit_region": (sources.ULTRAEDIT_REGION, write_ultraedit_region),
    "magicbrush": (sources.MAGICBRUSH, write_magicbrush),
    "nyu_frames": (sources.NYU_FRAMES, write_nyu_frames),
    "nyu_sync": (sources.NYU_SYNC, write_nyu_sync),
    "nyu_labeled": (sources.NYU_LABELED, write_nyu_labeled),
    "ade20k": (sources.ADE20K, write_ade20k),
    "scannet": (sources.SCANNET, write_scannet),
    "viton_hd": (sources.VITON_HD, write_viton_hd),
}
"""Layout -> its record and its writer."""


ONE_A_SOURCE = (
    "dfwb_crops", "gopro_crops", "rain13k", "fivek_480p", "lol_v1", "laion", "ultraedit", "magicbrush", "nyu_sync",
    "ade20k", "scannet", "viton_hd",
)  # fmt: skip
"""A layout of each dataset that the paper's recipe reads."""


def write_data_root(root: Path) -> Path:
    """A data root with all that the paper's recipe reads: a layout of each dataset, and people, photos and clips."""
    for name in ONE_A_SOURCE:
        source, write = FIXTURES[name]
        write(root / source.folder)
    person, photo_side_px = skimage.data.astronaut(), 400
    crops = [person[:photo_side_px, left_px : left_px + photo_side_px] for left_px in (0, 20, 40)]
    write_files(root / "people", {f"{index}.png": encode(crop) for index, crop in enumerate(crops)})
    write_photos(root / "photos", 3)
    frames = {
        f"walk/{at_px:03}.png": encode(person[at_px : at_px + 64, at_px : at_px + 64]) for at_px in (100, 104, 109)
    }
    write_files(root / "frames", frames)
    return root


def depth_mm(index: int) -> npt.NDArray[np.uint16]:
    """The index-th crop of a measured depth map: 2 to 6 m, and 0 where nothing was measured."""
    top_px, left_px = 13 * index % 400, 17 * index % 600
    return _depth_mm()[top_px : top_px + HEIGHT_PX, left_px : left_px + WIDTH_PX].copy()


def normals_rgb(index: int) -> Pixels:
    """Normals of that depth, as FrameNet's files hold them: 0.5 - n / 2."""
    down, across = np.gradient(depth_mm(index).astype(np.float32) / 100)
    vectors = np.dstack([across, down, -np.ones_like(down)])
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.rint((0.5 - vectors / 2) * 255).astype(np.uint8)


@lru_cache(maxsize=1)
def _depth_mm() -> npt.NDArray[np.uint16]:
    disparity_px: npt.NDArray[np.float32] = skimage.data.stereo_motorcycle()[2]
    return np.asarray(np.nan_to_num(192_031 / (disparity_px + 31.086), nan=0), np.uint16)


def _blurred(pixels: Pixels) -> Pixels:
    """The mean of five neighbours in a row, as a moving camera makes it."""
    padded = np.pad(pixels, ((0, 0), (2, 2), (0, 0)), "edge")
    return np.asarray(np.mean([padded[:, left : left + pixels.shape[1]] for left in range(5)], 0), np.uint8)
