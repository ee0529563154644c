"""Writes every layout of pipelines/sources/edit_datasets.py, small and of real photos, as its publisher lays it out.

A writer says what its reader is to make of it, by what it has itself written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manifests.images.pixels import Pixels
from pipelines.sources import edit_datasets as sources
from pipelines.sources.source import Source
from tests.sources import encode, jpeg, photo, write_files

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TEXTS = pa.list_(pa.string())

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A pair that a reader is to find."""

    ref: str
    images: Mapping[str, bytes]
    """By role."""
    texts: Mapping[str, str]
    params: Mapping[str, Any] = field(default_factory=dict)
    """Of its step "read"."""
    scores: Mapping[str, float] = field(default_factory=dict)
    losers: Sequence[bytes] = ()


def write_table(path: Path, rows: Rows, types: Mapping[str, Any], without: str = "") -> None:
    """A Parquet file of rows, without one of the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in types.items() if name != without}
    pq.write_table(pa.table(columns), path)


def write_lines(path: Path, rows: Rows, without: str = "") -> None:
    """JSON Lines of rows, without one of the fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = [{name: value for name, value in row.items() if name != without} for row in rows]
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in kept))


def on_hub(data: bytes | None, name: str = "image.jpg") -> dict[str, Any]:
    """An image as the hub has it in a column."""
    return {"bytes": data, "path": name}


def write_instructpix2pix(root: Path, without: str = "") -> list[Written]:
    types = dict.fromkeys(("original_prompt", "edit_prompt", "edited_prompt"), pa.string())
    images = dict.fromkeys(("original_image", "edited_image"), IMAGE)
    row = {
        "original_prompt": "a lake",
        "original_image": on_hub(jpeg(1)),
        "edit_prompt": "add a boat",
        "edited_prompt": "a lake with a boat",
        "edited_image": on_hub(jpeg(2)),
    }
    name = "train-00000-of-00262-0123456789abcdef.parquet"
    write_table(root / "data" / name, [row], {**types, **images}, without)
    captions = {"source_caption": "a lake", "target_caption": "a lake with a boat", "caption": "a lake with a boat"}
    return [
        Written(
            ref=f"{name}#0",
            images={"input": jpeg(1), "target": jpeg(2)},
            texts={"instruction": "add a boat", **captions},
        )
    ]


def write_hq_edit(root: Path, without: str = "") -> list[Written]:
    types = dict.fromkeys(("input", "edit", "inverse_edit", "output"), pa.string())
    images = dict.fromkeys(("input_image", "output_image"), IMAGE)
    rows = [
        {
            "input": "a cat",
            "input_image": on_hub(jpeg(place)),
            "edit": "make it a dog",
            "inverse_edit": "make it a cat" if place == 1 else None,
            "output": "a dog",
            "output_image": on_hub(jpeg(place + 5)),
        }
        for place in (1, 2)
    ]
    write_table(root / "data/HQ-Edit_1.parquet", rows, {**types, **images}, without)
    said = {"instruction": "make it a dog", "source_caption": "a cat", "target_caption": "a dog", "caption": "a dog"}
    return [
        Written(
            ref=f"HQ-Edit_1.parquet#{place - 1}",
            images={"input": jpeg(place), "target": jpeg(place + 5)},
            texts=said | ({"reverse": "make it a cat"} if place == 1 else {}),
        )
        for place in (1, 2)
    ]


def write_omniedit(root: Path, without: str = "", split: str = "train") -> list[Written]:
    whole = dict.fromkeys(("width", "height", "sc_score_1", "sc_score_2", "pq_score"), pa.int64())
    types = {
        "omni_edit_id": pa.string(),
        "task": pa.string(),
        **dict.fromkeys(("src_img", "edited_img"), IMAGE),
        "edited_prompt_list": TEXTS,
        **whole,
        **dict.fromkeys(("sc_reasoning", "pq_reasoning"), pa.string()),
        "o_score": pa.float64(),
    }
    row = {
        "omni_edit_id": "task_obj_swap_7",
        "task": "swap",
        "src_img": on_hub(jpeg(1)),
        "edited_img": on_hub(jpeg(2)),
        "edited_prompt_list": ["swap the cup for a vase", "put a vase where the cup is"],
        "width": 48,
        "height": 40,
        "sc_score_1": 9,
        "sc_score_2": 8,
        "sc_reasoning": "good",
        "pq_score": 7,
        "pq_reasoning": "good",
        "o_score": 7.5,
    }
    name = f"{split}-00000-of-00001.parquet"
    write_table(root / "data" / name, [row], types, without)
    return [
        Written(
            ref=f"{name}#0",
            images={"input": jpeg(1), "target": jpeg(2)},
            texts={"instruction": "swap the cup for a vase"},
            params={"edit_type": "swap", "id": "task_obj_swap_7"},
            scores={"sc_score_1": 9, "sc_score_2": 8, "pq_score": 7, "o_score": 7.5},
        )
    ]


def write_anyedit(root: Path, without: str = "") -> list[Written]:
    """One edit, and one that refers to a second image."""
    texts = dict.fromkeys(("image_id", "edit_instruction", "edit_type", "input", "output"), pa.string())
    images = dict.fromkeys(("image_file", "edited_file", "visual_input"), IMAGE)
    rows = [
        {
            "image_id": f"id_{place}",
            "edit_instruction": words,
            "edit_type": kind,
            "image_file": on_hub(jpeg(place)),
            "edited_file": on_hub(jpeg(place + 5)),
            "visual_input": on_hub(jpeg(9)) if kind == "visual_reference" else None,
            "input": "elephants",
            "output": "cars",
        }
        for place, kind, words in (
            (1, "replace", "Replace the elephants by cars"),
            (2, "visual_reference", "Replace the elephants to [v*]"),
        )
    ]
    name = "train-00000-of-00383.parquet"
    write_table(root / "data" / name, rows, {**texts, **images}, without)
    captions = {"source_caption": "elephants", "target_caption": "cars", "caption": "cars"}
    return [
        Written(
            ref=f"{name}#0",
            images={"input": jpeg(1), "target": jpeg(6)},
            texts={"instruction": "Replace the elephants by cars", **captions},
            params={"edit_type": "replace", "id": "id_1"},
        ),
        Written(
            ref=f"{name}#1",
            images={"input": jpeg(2), "input_2": jpeg(9), "target": jpeg(7)},
            texts={"instruction": "Replace the elephants to image 2", **captions},
            params={"edit_type": "visual_reference", "id": "id_2"},
        ),
    ]


def beside(whole: Pixels, left: Pixels, right: Pixels) -> Pixels:
    """A whole of 1,056 x 528 px with two images of 512 px where OminiControl's loader cuts them out."""
    whole[8:520, 8:520] = left
    whole[8:520, 528:1040] = right
    return whole


def square(index: int) -> Pixels:
    """A photo of 512 x 512 px."""
    return np.ascontiguousarray(np.kron(photo(index, 32, 32), np.ones((16, 16, 1), np.uint8)))


def write_subjects200k(root: Path, without: str = "") -> list[Written]:
    """A row with all that is said of it, as a lossy file, and one without scores, in an image of another size."""
    scores = pa.struct([(name, pa.int64()) for name in ("compositeStructure", "objectConsistency", "imageQuality")])
    names = ("item", "description_0", "description_1", "category")
    about = pa.struct([*((name, pa.string()) for name in names), ("description_valid", pa.bool_())])
    types = {"image": IMAGE, "collection": pa.string(), "quality_assessment": scores, "description": about}
    whole = encode(beside(np.full((528, 1056, 3), 200, np.uint8), square(1), square(2)), "PNG")
    said = ("Eames Lounge Chair", "It stands in a loft.", "It stands in a cabin.", "Furniture")
    description = {**dict(zip(names, said, strict=True)), "description_valid": True}
    rows = [
        {
            "image": on_hub(whole, "1.png"),
            "collection": "collection_2",
            "quality_assessment": {"compositeStructure": 5, "objectConsistency": 4, "imageQuality": 5},
            "description": description,
        }
    ]
    name = "train-00000-of-00032.parquet"
    write_table(root / "data" / name, rows, types, without)
    return [
        Written(
            ref=f"{name}#0",
            images={"input": encode(square(1), "PNG"), "target": encode(square(2), "PNG")},
            texts={"instruction": "It stands in a cabin.", "reverse": "It stands in a loft."},
            params={
                "collection": "collection_2",
                "subject": "Eames Lounge Chair",
                "category": "Furniture",
                "description_valid": True,
            },
            scores={"composite_structure": 5, "object_consistency": 4, "image_quality": 5},
        )
    ]


def write_imgedit(root: Path, without: str = "") -> list[Written]:
    """Edits with a path each, with two, and as a tar that is unpacked in Singleturn/ has them."""
    folders = ("results_remove_laion_part5/00094_00030_000304748", "results_style_part0/00001_00002_000000003")
    types = {"input_images": TEXTS, "output_images": TEXTS, "prompt": pa.string()}
    rows = [
        {
            "input_images": [f"{folders[0]}/original.png"],
            "output_images": [f"{folders[0]}/result.png"],
            "prompt": "Remove the people.",
        },
        {
            "input_images": [f"{folders[1]}/original.png", f"{folders[1]}/reference.png"],
            "output_images": [f"{folders[1]}/result.png"],
            "prompt": "Paint the first image as the second image.",
        },
    ]
    write_table(root / "Parquet/remove_part5.parquet", rows, types, without)
    images = {f"{folders[0]}/original.png": 1, f"{folders[0]}/result.png": 2}
    images |= {f"Singleturn/{folders[1]}/{name}.png": place for place, name in enumerate(("original", "result"), 3)}
    images |= {f"Singleturn/{folders[1]}/reference.png": 5}
    write_files(root, {name: encode(photo(place)) for name, place in images.items()})
    return [
        Written(
            ref="Parquet/remove_part5.parquet#0",
            images={"input": encode(photo(1)), "target": encode(photo(2))},
            texts={"instruction": "Remove the people."},
        ),
        Written(
            ref="Parquet/remove_part5.parquet#1",
            images={"input": encode(photo(3)), "input_2": encode(photo(5)), "target": encode(photo(4))},
            texts={"instruction": "Paint the first image as the second image."},
        ),
    ]


def write_imgedit_turns(root: Path, without: str = "") -> list[Written]:
    folder = "results_version_backtracking_part0/00031_00020_000209651"
    turn = pa.struct([("input_images", TEXTS), ("output_images", TEXTS), ("prompt", pa.string())])
    prompts = ("add a green vest", "replace it by a jacket", "withdraw that, and brighten the vest")
    data = [
        {"input_images": [f"{folder}/origin_{n}.png"], "output_images": [f"{folder}/result_{n}.png"], "prompt": prompt}
        for n, prompt in enumerate(prompts)
    ]
    table = root / "Parquet/version_backtracking_part0.parquet"
    write_table(table, [{"data": data}], {"data": pa.list_(turn)}, without)
    images = {
        f"{side}_{n}.png": encode(photo(n + 5 * place))
        for place, side in enumerate(("origin", "result"))
        for n in range(3)
    }
    write_files(root / "Multiturn" / folder, images)
    session = "Parquet/version_backtracking_part0.parquet#0"
    return [
        Written(
            ref=f"{session}.{n + 1}",
            images={"input": images[f"origin_{n}.png"], "target": images[f"result_{n}.png"]},
            texts={"instruction": prompt},
            params={"session": session, "turn": n + 1},
        )
        for n, prompt in enumerate(prompts)
    ]


def _write_seed(root: Path, folder: str, without: str) -> list[Written]:
    row = {
        "source_image": "source_images/f6f4d0669694df5b.jpg",
        "target_image": "target_images/f6f4d0669694df5b.jpg",
        "instruction": "Erase the car.",
    }
    write_lines(root / folder / "annotations/split_0001.jsonl", [row], without)
    write_lines(root / folder / "annotations_GPT4V/split_0001.jsonl", [{**row, "instruction": "Erase it."}])
    write_files(root / folder / "images", {row["source_image"]: jpeg(1), row["target_image"]: jpeg(2)})
    return [
        Written(
            ref="annotations/split_0001.jsonl#0",
            images={"input": jpeg(1), "target": jpeg(2)},
            texts={"instruction": "Erase the car."},
        )
    ]


def write_seed_openimages(root: Path, without: str = "") -> list[Written]:
    return _write_seed(root, "auto_editing/openimages", without)


def write_seed_unsplash(root: Path, without: str = "") -> list[Written]:
    return _write_seed(root, "auto_editing/unsplash", without)


def write_seed_real(root: Path, without: str = "") -> list[Written]:
    return _write_seed(root, "real_editing", without)


def write_seed_turns(root: Path, without: str = "") -> list[Written]:
    """A session of two turns and one of a single turn."""
    rows = [
        {
            "source_image": "Data/1/0.jpg",
            "instruction_1": "add a hat",
            "edit_image_1": "Data/1/1.jpg",
            "instruction_2": "make it red",
            "edit_image_2": "Data/1/2.jpg",
        },
        {"source_image": "Data/2/0.jpg", "instruction_1": "remove the sign", "edit_image_1": "Data/2/1.jpg"},
    ]
    folder, table = root / "multi_turn_editing", "annotations/split_0001.jsonl"
    write_lines(folder / table, rows, without)
    images = {"Data/1/0.jpg": 0, "Data/1/1.jpg": 1, "Data/1/2.jpg": 2, "Data/2/0.jpg": 3, "Data/2/1.jpg": 4}
    write_files(folder / "images", {name: jpeg(place) for name, place in images.items()})
    turns = ((0, 1, 0, 1, "add a hat"), (0, 2, 1, 2, "make it red"), (1, 1, 3, 4, "remove the sign"))
    return [
        Written(
            ref=f"{table}#{row}.{turn}",
            images={"input": jpeg(before), "target": jpeg(after)},
            texts={"instruction": words},
            params={"session": f"{table}#{row}", "turn": turn},
        )
        for row, turn, before, after, words in turns
    ]


_PICO_URL = "https://farm8.staticflickr.com/2915/14573719235_6cfb811e3c_o.jpg"
_PICO_LOCAL = "openimages/openimage_source_images/train_0/0000e2205e460318.jpg"


def write_pico_banana(root: Path, without: str = "") -> list[Written]:
    return _write_pico(root, "sft_with_local_source_image_path.jsonl", {}, without)


def write_pico_banana_preference(root: Path, without: str = "") -> list[Written]:
    lost = [f"images/negative-edit/1_attempt{n}.png" for n in (1, 2)]
    losers = [encode(photo(place)) for place in (3, 4)]
    write_files(root, dict(zip(lost, losers, strict=True)))
    more = {"rejected_images": [*lost, "images/negative-edit/gone.png"]}
    (written,) = _write_pico(root, "preference_with_local_source_image_path.jsonl", more, without)
    return [Written(**{**vars(written), "losers": losers})]


def _write_pico(root: Path, table: str, more: Mapping[str, Any], without: str) -> list[Written]:
    row = {
        "open_image_input_url": _PICO_URL,
        "text": "Remove the red flag and extend the sky.",
        "output_image": "images/positive-edit/1.png",
        "edit_type": "Remove an existing object",
        "summarized_text": "Flag removed.",
        **more,
    }
    write_lines(root / table.replace("_with_local_source_image_path", ""), [row])
    write_lines(root / table, [{**row, "local_input_image": f"/home/me/{_PICO_LOCAL}"}], without)
    write_files(root, {_PICO_LOCAL: jpeg(1), "images/positive-edit/1.png": encode(photo(2))})
    return [
        Written(
            ref=f"{table}#0",
            images={"input": jpeg(1), "target": encode(photo(2))},
            texts={"instruction": row["text"], "short_instruction": "Flag removed."},
            params={"edit_type": "Remove an existing object", "input_url": _PICO_URL},
        )
    ]


def write_pico_banana_turns(root: Path, without: str = "") -> list[Written]:
    files = [{"id": f"edit_turn{n}", "url": f"images/multi-turn/101_attemptB_turn{n}.png"} for n in (1, 2)]
    files += [
        {"id": "final_image", "url": "images/multi-turn/101_attemptB_turn3.png"},
        {"id": "original_input_image", "url": _PICO_URL},
    ]
    prompts = ["make it golden", "zoom in on the car", "make it a comic"]
    row = {"files": files, "metadata_edit_turn_prompts": prompts, "local_input_image": _PICO_LOCAL}
    table = "multi-turn_with_local_source_image_path.jsonl"
    write_lines(root / table, [row], without)
    images = [jpeg(0), *(encode(photo(n)) for n in (1, 2, 3))]
    write_files(root, {f"images/multi-turn/101_attemptB_turn{n}.png": images[n] for n in (1, 2, 3)})
    write_files(root, {_PICO_LOCAL: images[0]})
    return [
        Written(
            ref=f"{table}#0.{n + 1}",
            images={"input": images[n], "target": images[n + 1]},
            texts={"instruction": prompt},
            params={"session": f"{table}#0", "turn": n + 1},
        )
        for n, prompt in enumerate(prompts)
    ]


def write_nhr_edit(root: Path, without: str = "") -> list[Written]:
    row = {
        "sample_id": "image_1_edited_0",
        "source_file_name": "images/00/image_1_original.jpg",
        "edited_file_name": "images/00/image_1_edited_0.jpg",
        "edit_instruction": "Add a lamp",
        "augmented_instructions": ["Put a lamp there"],
        "category": "Add object",
        "style": "photo",
        "kind": "original",
        "img_width": 48,
        "img_height": 40,
    }
    write_lines(root / "train/metadata.jsonl", [row], without)
    write_files(root / "train", {str(row["source_file_name"]): jpeg(1), str(row["edited_file_name"]): jpeg(2)})
    return [
        Written(
            ref="metadata.jsonl#0",
            images={"input": jpeg(1), "target": jpeg(2)},
            texts={"instruction": "Add a lamp"},
            params={"edit_type": "Add object", "style": "photo", "kind": "original", "id": "image_1_edited_0"},
        )
    ]


def write_nhr_edit_hub(root: Path, without: str = "") -> list[Written]:
    texts = dict.fromkeys(("sample_id", "edit_instruction", "category"), pa.string())
    types = {**texts, **dict.fromkeys(("source_image", "edited_image"), IMAGE)}
    row = {
        "sample_id": "7",
        "edit_instruction": "Add a lamp",
        "category": "Add object",
        "source_image": on_hub(jpeg(1)),
        "edited_image": on_hub(jpeg(2)),
    }
    write_table(root / "data/train-00000-of-00900.parquet", [row], types, without)
    return [
        Written(
            ref="train-00000-of-00900.parquet#0",
            images={"input": jpeg(1), "target": jpeg(2)},
            texts={"instruction": "Add a lamp"},
            params={"edit_type": "Add object", "id": "7"},
        )
    ]


def write_gpt_image_edit(root: Path, without: str = "") -> list[Written]:
    """Two of the lists, whose paths start from folders of their own and have the same names."""
    found = []
    for place, (table, folder) in enumerate(
        (("hqedit_gpt_edit.json", "hqedit/edit"), ("complexedit_gpt.json", "omniedit/complex-edit"))
    ):
        rows = [
            {
                "image": [f"input/{n:08d}.png", f"output/{n:08d}.png"],
                "conversations": [
                    {"from": "human", "value": f"<image>\nMake it “{n}” – größer"},
                    {"from": "gpt", "value": "<gen_image>"},
                ],
            }
            for n in (1, 2)
        ]
        kept = [{name: value for name, value in row.items() if name != without} for row in rows]
        write_files(root / "training_json", {table: json.dumps(kept, ensure_ascii=False, indent=1).encode()})
        for n in (1, 2):
            before, after = (encode(photo(4 * place + n + 10 * side)) for side in (0, 1))
            images = {f"input/{n:08d}.png": before, f"output/{n:08d}.png": after}
            write_files(root / "gpt-edit" / folder, images)
            found.append(
                Written(
                    ref=f"training_json/{table}#{n - 1}",
                    images={"input": before, "target": after},
                    texts={"instruction": f"Make it “{n}” – größer"},
                )
            )
    return found


def write_x2i_instruction(root: Path, without: str = "") -> list[Written]:
    return _write_x2i(root / "X2I-mm-instruction", "magicbrush", without)


def write_x2i_subject(root: Path, without: str = "") -> list[Written]:
    return _write_x2i(root / "X2I-subject-driven", "character", without)


def _write_x2i(folder: Path, name: str, without: str) -> list[Written]:
    """Edits of one, two and three images, of paths from the folder and from that of the list's name."""
    rows: list[dict[str, Any]] = [
        {
            "task_type": "image_edit",
            "instruction": "<img><|image_1|></img> The umbrella should be red.",
            "input_images": [f"{name}/1.jpg"],
            "output_image": f"{name}/2.jpg",
        },
        {
            "task_type": "try-on",
            "instruction": "<img><|image_2|></img> is worn by <img><|image_1|></img>.",
            "input_images": ["3.jpg", "1.jpg"],
            "output_image": "4.jpg",
        },
        {
            "task_type": "many",
            "instruction": "<img><|image_1|></img>, <img><|image_2|></img> and <img><|image_3|></img> meet.",
            "input_images": ["1.jpg", "2.jpg", "3.jpg"],
            "output_image": "4.jpg",
        },
    ]
    write_lines(folder / f"{name}.jsonl", rows, without)
    write_files(folder / name, {f"{n}.jpg": jpeg(n) for n in (1, 2, 3, 4)})
    said = (
        ("image_edit", "<image 1> The umbrella should be red.", {"input": 1, "target": 2}),
        ("try-on", "<image 2> is worn by <image 1>.", {"input": 3, "input_2": 1, "target": 4}),
        ("many", "<image 1>, <image 2> and <image 3> meet.", {"input": 1, "input_2": 2, "input_3": 3, "target": 4}),
    )
    return [
        Written(
            ref=f"{name}.jsonl#{row}",
            images={role: jpeg(n) for role, n in images.items()},
            texts={"instruction": words},
            params={"edit_type": kind},
        )
        for row, (kind, words, images) in enumerate(said)
    ]


EDIT_FIXTURES: Mapping[str, tuple[Source, Callable[..., list[Written]], str]] = {
    "instructpix2pix": (sources.INSTRUCTPIX2PIX_ALL, write_instructpix2pix, "edited_image"),
    "hq_edit": (sources.HQ_EDIT, write_hq_edit, "inverse_edit"),
    "imgedit": (sources.IMGEDIT, write_imgedit, "prompt"),
    "imgedit_turns": (sources.IMGEDIT_TURNS, write_imgedit_turns, "data"),
    "omniedit": (sources.OMNIEDIT, write_omniedit, "o_score"),
    "seed_openimages": (sources.SEED_OPENIMAGES, write_seed_openimages, "target_image"),
    "seed_unsplash": (sources.SEED_UNSPLASH, write_seed_unsplash, "instruction"),
    "seed_real": (sources.SEED_REAL, write_seed_real, "source_image"),
    "seed_turns": (sources.SEED_TURNS, write_seed_turns, "edit_image_1"),
    "anyedit": (sources.ANYEDIT, write_anyedit, "visual_input"),
    "pico_banana": (sources.PICO_BANANA, write_pico_banana, "edit_type"),
    "pico_banana_preference": (sources.PICO_BANANA_PREFERENCE, write_pico_banana_preference, "rejected_images"),
    "pico_banana_turns": (sources.PICO_BANANA_TURNS, write_pico_banana_turns, "metadata_edit_turn_prompts"),
    "nhr_edit": (sources.NHR_EDIT[0], write_nhr_edit, "edited_file_name"),
    "nhr_edit_hub": (sources.NHR_EDIT[1], write_nhr_edit_hub, "category"),
    "gpt_image_edit": (sources.GPT_IMAGE_EDIT, write_gpt_image_edit, "conversations"),
    "x2i_instruction": (sources.X2I[0], write_x2i_instruction, "task_type"),
    "x2i_subject": (sources.X2I[1], write_x2i_subject, "output_image"),
    "subjects200k": (sources.SUBJECTS200K, write_subjects200k, "description"),
}
"""Layout -> its record, its writer, and a column without which it is not taken for it."""
