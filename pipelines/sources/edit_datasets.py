"""The published edit datasets that are known by their columns: one record for each layout.

Each record says where its layout was read: the authors' loader or card, else code of others that reads it. What no
public text says is said so. A folder is taken for one of these only if its first file has all columns; what the
columns mean is then not asked.
"""

from __future__ import annotations

from dataclasses import replace

from operators.read.edit_rows import EditRows, Tables
from operators.read.edit_shapes import (
    Conversation,
    EditsInList,
    NumberedTurns,
    OneEdit,
    PicoBananaTurns,
    SideBySide,
)
from pipelines.sources.source import Source, Split


def _captions(before: str, after: str) -> tuple[tuple[str, str], ...]:
    """Captions of both images, from two columns; what is said of the target is its caption too."""
    return ("source_caption", before), ("target_caption", after), ("caption", after)


INSTRUCTPIX2PIX_ALL = Source(
    # Columns and counts: card of https://huggingface.co/datasets/timbrooks/instructpix2pix-clip-filtered. The task
    # instructpix2pix tests on 100 edits of its first four files: --guard keeps them out.
    reader=EditRows(
        source="InstructPix2Pix",
        licence="none stated; research use",
        tables=(Tables(files="train-*.parquet"),),
        nested=("", "data"),
        shape=OneEdit(
            inputs=("original_image",),
            target="edited_image",
            texts=(("instruction", "edit_prompt"), *_captions("original_prompt", "edited_prompt")),
        ),
    ),
    layout="data/train-00000-of-00262-<hash>.parquet and so on",
    size="313,010 pairs, 130 GB",
    obtain="hf download timbrooks/instructpix2pix-clip-filtered --repo-type dataset",
)

HQ_EDIT = Source(
    # Columns, licence and counts: card of https://huggingface.co/datasets/UCSC-VLAA/HQ-Edit (revision 8d0a512), which
    # counts an edit and its inverse as two. What the files are called is not said there: all in data/ are read.
    reader=EditRows(
        source="HQ-Edit",
        licence="CC-BY-NC-4.0",
        tables=(Tables(files="*.parquet"),),
        nested=("", "data"),
        shape=OneEdit(
            inputs=("input_image",),
            target="output_image",
            texts=(("instruction", "edit"), ("reverse", "inverse_edit"), *_captions("input", "output")),
        ),
    ),
    layout="data/*.parquet with input_image, output_image, edit and inverse_edit",
    size="98,675 pairs with both directions",
    obtain="hf download UCSC-VLAA/HQ-Edit --repo-type dataset",
)

_OMNIEDIT = EditRows(
    source="OmniEdit",
    licence="MIT",
    tables=(Tables(files="train-*.parquet"),),
    nested=("", "data"),
    shape=OneEdit(
        inputs=("src_img",),
        target="edited_img",
        texts=(("instruction", "edited_prompt_list"),),
        params=(("edit_type", "task"), ("id", "omni_edit_id")),
        scores=("sc_score_1", "sc_score_2", "pq_score", "o_score"),
    ),
)

OMNIEDIT = Source(
    # Columns, licence and counts: card of https://huggingface.co/datasets/TIGER-Lab/OmniEdit-Filtered-1.2M (revision
    # 82455c6). edited_prompt_list has several wordings of one instruction, of which the first is taken.
    reader=_OMNIEDIT,
    layout="data/train-*.parquet with src_img, edited_img and edited_prompt_list",
    size="1,202,797 pairs, 2.9 TB",
    obtain="hf download TIGER-Lab/OmniEdit-Filtered-1.2M --repo-type dataset",
    tests=(
        Split(
            reader=replace(_OMNIEDIT, split="dev", tables=(Tables(files="dev-*.parquet"),)),
            layout="data/dev-*.parquet",
            size="700 pairs",
        ),
    ),
)

_ANYEDIT = EditRows(
    source="AnyEdit",
    licence="CC-BY-4.0",
    tables=(Tables(files="train-*.parquet"),),
    nested=("", "data"),
    shape=OneEdit(
        inputs=("image_file",),
        optional=("visual_input",),
        target="edited_file",
        texts=(("instruction", "edit_instruction"), *_captions("input", "output")),
        params=(("edit_type", "edit_type"), ("id", "image_id")),
    ),
)

ANYEDIT = Source(
    # Columns and counts: card of https://huggingface.co/datasets/Bin1117/AnyEdit (revision b6c3094), which still says
    # MIT; the hub's label of later revisions is cc-by-4.0. visual_input is null for all but the visual edit types.
    reader=_ANYEDIT,
    layout="data/train-00000-of-00383.parquet and so on, with image_file, edited_file and visual_input",
    size="2,504,683 pairs, 218 GB",
    obtain="hf download Bin1117/AnyEdit --repo-type dataset",
    tests=(
        Split(
            reader=replace(_ANYEDIT, split="validation", tables=(Tables(files="validation-*.parquet"),)),
            layout="data/validation-*.parquet",
            size="5,000 pairs",
        ),
    ),
)

SUBJECTS200K = Source(
    # Columns, licence and counts: card of https://huggingface.co/datasets/Yuanshi/Subjects200K (revision 0d1cf65). Cut
    # as the authors do: image_size and padding in train/config/subject.yaml (lines 26 and 27) of
    # https://github.com/Yuanshi9815/OminiControl. They train on what has 5 in all three scores (train_subject.py, line
    # 147). Collection 3, of other sizes, is a dataset of its own, of which no public text says licence and padding.
    reader=EditRows(
        source="Subjects200K",
        licence="Apache-2.0",
        tables=(Tables(files="train-*.parquet"),),
        nested=("", "data"),
        shape=SideBySide(
            image="image",
            side_px=512,
            padding_px=8,
            left="description.description_0",
            right="description.description_1",
            params=(
                ("collection", "collection"),
                ("subject", "description.item"),
                ("category", "description.category"),
                ("description_valid", "description.description_valid"),
            ),
            scores=(
                ("composite_structure", "quality_assessment.compositeStructure"),
                ("object_consistency", "quality_assessment.objectConsistency"),
                ("image_quality", "quality_assessment.imageQuality"),
            ),
        ),
    ),
    layout="data/train-00000-of-00032.parquet and so on: images of 1,056 x 528 px that hold two",
    size="206,841 pairs of 512 x 512 px, 11 GB",
    obtain="hf download Yuanshi/Subjects200K --repo-type dataset",
)

_IMGEDIT_ROW = OneEdit(inputs=("input_images",), target="output_images", texts=(("instruction", "prompt"),))

_IMGEDIT = EditRows(
    source="ImgEdit",
    licence="Apache-2.0",
    tables=(Tables(files="Parquet/*.parquet", images=("", "Singleturn", "Multiturn")),),
    mixed=True,
    shape=_IMGEDIT_ROW,
)

IMGEDIT = Source(
    # Columns, an example of each and folders: "ImgEdit Dataset Format" and "Download Dataset" in README.md of
    # https://github.com/PKU-YuanGroup/ImgEdit. Its licence is not named there; Apache-2.0 is what users of it have
    # written down. The paths of hybrid_part*.parquet begin with results_compose, and what is published with
    # results_hybrid (issue 9 there): rename the folders, they are not guessed. all_dataset_gpt_score.json is not read,
    # since no public text says what is in it.
    reader=_IMGEDIT,
    layout="Parquet/<task>_part0.parquet, and beside Parquet/, or in Singleturn/, the folders that the tars hold",
    size="1.2 million pairs, some 2.8 TB",
    obtain="hf download sysuyy/ImgEdit --repo-type dataset; in Singleturn/ cat a.tar.split.* | tar x, for each tar",
)

IMGEDIT_TURNS = Source(
    # As above, "For multi-turn dataset": the files lie in the same folder, and have a list of turns for a row.
    reader=replace(_IMGEDIT, source="ImgEdit-multi-turn", shape=EditsInList(column="data", edit=_IMGEDIT_ROW)),
    layout="Parquet/<task>_part0.parquet with a column data, and the folders that the tars hold, or in Multiturn/",
    size="sessions of three tasks; how many is not published",
    obtain="hf download sysuyy/ImgEdit --repo-type dataset; in Multiturn/ cat a.tar.split.* | tar x, for each tar",
)

_SEED = EditRows(
    source="SEED-Data-Edit-Part1-Openimages",
    licence="CC-BY-NC-4.0",
    tables=(Tables(files="annotations/split_*.jsonl", images=("images",)),),
    nested=("auto_editing/openimages",),
    shape=OneEdit(inputs=("source_image",), target="target_image", texts=(("instruction", "instruction"),)),
)

SEED_OPENIMAGES = Source(
    # Rows: src/data/sft_clm.py (line 470) and README.md (line 131) of https://github.com/AILab-CVC/SEED-X; folders:
    # configs/data/sft_edit.yaml there (lines 7, 8, 27 and 28). Licence and counts: card of
    # https://huggingface.co/datasets/AILab-CVC/SEED-Data-Edit. annotations_GPT4V/ words a small part of the same edits
    # anew, and is not read.
    reader=_SEED,
    layout="auto_editing/openimages/ with annotations/split_0001.jsonl and images/source_images/, target_images/",
    size="with the part of Unsplash 3.5 million pairs",
    obtain="hf download AILab-CVC/SEED-Data-Edit-Part1-Openimages --repo-type dataset; in images/ "
    "cat source_images.tar.gz.part-* | tar xz, and the same of target_images",
)

SEED_UNSPLASH = Source(
    reader=replace(_SEED, source="SEED-Data-Edit-Part1-Unsplash", nested=("auto_editing/unsplash",)),
    layout="auto_editing/unsplash/ with annotations/split_0001.jsonl and images/",
    size="with the part of Open Images 3.5 million pairs",
    obtain="hf download AILab-CVC/SEED-Data-Edit-Part1-Unsplash --repo-type dataset; in images/ "
    "cat unsplash_images.tar.gz.part-* | tar xz",
)

SEED_REAL = Source(
    # Folders: file list of https://huggingface.co/datasets/AILab-CVC/SEED-Data-Edit-Part2-3. What its rows look like no
    # public text says: that they are those of part 1 is not checked. Rows that are not are no dataset known here.
    reader=replace(_SEED, source="SEED-Data-Edit-Part2", nested=("real_editing",)),
    layout="real_editing/ with annotations/split_0001.jsonl and images/",
    size="52,000 pairs, 2.5 GB",
    obtain="hf download AILab-CVC/SEED-Data-Edit-Part2-3 --repo-type dataset; in real_editing/images/ "
    "tar xzf images.tar.gz",
)

SEED_TURNS = Source(
    # Folders: file list as above. Rows: no code of the authors reads them, but ADIEE's does (get_real_data_list and
    # get_real_item of its training data): instruction_2 leads from edit_image_1 to edit_image_2, and paths start from
    # images/, or, where others have unpacked them, from images/data/.
    reader=replace(
        _SEED,
        source="SEED-Data-Edit-Part3",
        nested=("multi_turn_editing",),
        tables=(Tables(files="annotations/split_*.jsonl", images=("images", "images/data")),),
        shape=NumberedTurns(first="source_image", image="edit_image_", instruction="instruction_"),
    ),
    layout="multi_turn_editing/ with annotations/split_0001.jsonl and images/",
    size="95,000 pairs, the turns of 21,000 sessions, 47 GB",
    obtain="hf download AILab-CVC/SEED-Data-Edit-Part2-3 --repo-type dataset; in multi_turn_editing/images/ "
    "cat multi_turn.tar.gz.part-* | tar xz",
)

_PICO_LOCAL = "local_input_image"

_PICO_ROW = OneEdit(
    inputs=(_PICO_LOCAL,),
    target="output_image",
    texts=(("instruction", "text"), ("short_instruction", "summarized_text")),
    params=(("edit_type", "edit_type"), ("input_url", "open_image_input_url")),
)

_PICO = EditRows(
    source="Pico-Banana-400K",
    licence="CC-BY-NC-ND-4.0 AND CC-BY-2.0",
    tables=tuple(Tables(files=files, images=("", "openimages")) for files in ("sft*.jsonl", "openimages/sft*.jsonl")),
    mixed=True,
    prepared=(
        _PICO_LOCAL,
        "its input images are URLs of Flickr; download Open Images and run map_openimage_url_to_local.py, as README.md "
        "of https://github.com/apple/pico-banana-400k says",
    ),
    shape=_PICO_ROW,
    foreign_paths=True,
)
_PICO_OBTAIN = (
    "the .jsonl and the images of its manifest, by the links in README.md of https://github.com/apple/pico-banana-400k,"
    " the inputs from Open Images, and map_openimage_url_to_local.py there, which writes the .jsonl anew"
)

PICO_BANANA = Source(
    # Columns: https://github.com/apple/pico-banana-400k/issues/12, and map_openimage_url_to_local.py there, which adds
    # local_input_image, a path on the machine that it ran on. Licences: README.md there; the second one is that of the
    # inputs, photos of Open Images. Edited images: images/positive-edit/1.png and so on.
    reader=_PICO,
    layout="sft_with_local_source_image_path.jsonl, images/positive-edit/, and openimages/ with the inputs",
    size="257,000 pairs",
    obtain=_PICO_OBTAIN,
)

PICO_BANANA_PREFERENCE = Source(
    # As above; rejected_images is a list of the failed edits of the same instruction, which become candidates.
    reader=replace(
        _PICO,
        source="Pico-Banana-400K-preference",
        tables=tuple(replace(one, files=one.files.replace("sft", "preference")) for one in _PICO.tables),
        shape=replace(_PICO_ROW, losers="rejected_images"),
    ),
    layout="preference*.jsonl with local_input_image, and the images that it names",
    size="56,000 pairs with failed edits of the same instruction",
    obtain=_PICO_OBTAIN,
)

PICO_BANANA_TURNS = Source(
    # As above. Rows: get_source_url in map_openimage_url_to_local.py, and an example that users have written down:
    # {"files": [{"id": "edit_turn1", "url": "images/multi-turn/101_attemptB_turn1.png"}, ..., {"id": "final_image",
    # ...}, {"id": "original_input_image", "url": "https://..."}], "metadata_edit_turn_prompts": [...]}, in which
    # final_image is what the last prompt made.
    reader=replace(
        _PICO,
        source="Pico-Banana-400K-multi-turn",
        tables=tuple(replace(one, files=one.files.replace("sft", "multi[-_]turn")) for one in _PICO.tables),
        shape=PicoBananaTurns(),
    ),
    layout="multi-turn*.jsonl with local_input_image, and the images that it names",
    size="72,000 sessions",
    obtain=_PICO_OBTAIN,
)

_NHR_SAYS = (("edit_type", "category"), ("style", "style"), ("kind", "kind"), ("id", "sample_id"))

NHR_EDIT = (
    Source(
        # Folders and licence: card of https://huggingface.co/datasets/iitolstykh/NHR-Edit. Names of the fields: code of
        # others that reads metadata.jsonl (IterativeNHREditDataset), which does not say whether paths start from train/
        # or from above it: either is found. augmented_instructions, other wordings of the same, is not read.
        reader=EditRows(
            source="NHR-Edit",
            licence="Apache-2.0",
            tables=(Tables(files="metadata.jsonl"),),
            nested=("train",),
            foreign_paths=True,
            shape=OneEdit(
                inputs=("source_file_name",),
                target="edited_file_name",
                texts=(("instruction", "edit_instruction"),),
                params=_NHR_SAYS,
            ),
        ),
        layout="train/ with metadata.jsonl and images/00/ and so on",
        size="358,463 pairs",
        obtain="hf download iitolstykh/NHR-Edit --repo-type dataset",
    ),
    Source(
        # The same as Parquet files of the hub, by code of others that streams them (NHREditStream): which of kind and
        # style are among the columns is not said there.
        reader=EditRows(
            source="NHR-Edit",
            licence="Apache-2.0",
            tables=(Tables(files="train-*.parquet"),),
            nested=("", "data"),
            shape=OneEdit(
                inputs=("source_image",),
                target="edited_image",
                texts=(("instruction", "edit_instruction"),),
                params=(("edit_type", "category"), ("id", "sample_id")),
            ),
        ),
        layout="data/train-*.parquet with source_image, edited_image, edit_instruction, category and sample_id",
        size="358,463 pairs, 790 GB",
        obtain="hf download iitolstykh/NHR-Edit --repo-type dataset",
    ),
)

_GPT_IMAGE_EDIT = (
    ("hqedit_gpt_edit.json", "hqedit/edit"),
    ("hqedit_gpt_generate.json", "hqedit/generate"),
    ("omniedit_gpt.json", "omniedit"),
    ("omniedit_gpt_rewrite.json", "omniedit"),
    ("complexedit_gpt.json", "omniedit/complex-edit"),
    ("ultraedit_gpt.json", "ultraedit"),
)
"""Files of edits, and the folder of gpt-edit/ that their paths start from."""

GPT_IMAGE_EDIT = Source(
    # Files and folders: data.txt in README.md of https://github.com/wyhlovecpp/GPT-Image-Edit; rows: univa/dataset/
    # qwen2vl_dataset.py there (_load_data, and lines 465 to 475): {"image": ["input/00070858.png",
    # "output/00070858.png"], "conversations": [{"from": "human", "value": ...}, {"from": "gpt", ...}]}. Licence and
    # counts: card of https://huggingface.co/datasets/UCSC-VLAA/GPT-Image-Edit-1.5M.
    reader=EditRows(
        source="GPT-Image-Edit-1.5M",
        licence="CC-BY-4.0",
        tables=tuple(
            Tables(files=f"training_json/{name}", images=(f"gpt-edit/{folder}", f"data/gpt-edit/{folder}"))
            for name, folder in _GPT_IMAGE_EDIT
        ),
        shape=Conversation(),
    ),
    layout="training_json/hqedit_gpt_edit.json and so on, and gpt-edit/ with hqedit/, omniedit/ and ultraedit/",
    size="1,553,575 pairs, 5 TB",
    obtain="hf download UCSC-VLAA/GPT-Image-Edit-1.5M --repo-type dataset; in gpt-edit/ cat hqedit.tar.gz.part* | "
    "tar xz, and so on; hf download UCSC-VLAA/gpt-image-edit-training --include 'training_json/*'",
)

_X2I = EditRows(
    source="X2I-mm-instruction",
    licence="Apache-2.0",
    tables=(Tables(files="*.jsonl", images=("", "{stem}")),),
    nested=("X2I-mm-instruction",),
    shape=OneEdit(
        inputs=("input_images",),
        target="output_image",
        texts=(("instruction", "instruction"),),
        params=(("edit_type", "task_type"),),
    ),
)

X2I = tuple(
    Source(
        # Rows: docs/fine-tuning.md, toy_data/toy_data.jsonl and DatasetFromJson in OmniGen/train_helper/data.py of
        # https://github.com/VectorSpaceLab/OmniGen: {"task_type": "try-on", "instruction": "<img><|image_1|></img>
        # wears <img><|image_2|></img>.", "input_images": ["model.png", "clothes.png"], "output_image": "try_on.png"}.
        # Files and licence: https://huggingface.co/datasets/yzwang/X2I-mm-instruction and X2I-subject-driven, whose
        # paths users start from the dataset's folder, or from that of the .jsonl's name. Its folder must have the name
        # of the dataset: any OmniGen training file has these columns. The other parts of X2I are not known here.
        reader=replace(_X2I, source=name, nested=(name,)),
        layout=f"{name}/ with {file} and so on, and beside them the folders that the tars hold",
        size="how many pairs is not published for the part",
        obtain=f"hf download yzwang/{name} --repo-type dataset --local-dir {name}; unpack the tars where they are",
    )
    for name, file in (("X2I-mm-instruction", "magicbrush.jsonl"), ("X2I-subject-driven", "character.jsonl"))
)

# fmt: off
EDIT_DATASETS = (
    INSTRUCTPIX2PIX_ALL, HQ_EDIT, IMGEDIT, IMGEDIT_TURNS, OMNIEDIT, SEED_OPENIMAGES, SEED_UNSPLASH, SEED_REAL,
    SEED_TURNS, ANYEDIT, PICO_BANANA, PICO_BANANA_PREFERENCE, PICO_BANANA_TURNS, *NHR_EDIT, GPT_IMAGE_EDIT, *X2I,
    SUBJECTS200K,
)
# fmt: on
"""All of them. No two can be taken for each other: each has columns, or names of folders, that no other has."""
