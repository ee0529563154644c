"""The public datasets and bundled inputs we read: one record each, with licence, size and how to obtain it.

Folder names and counts were taken from the pages named in the comments. Counts are those of the published files; the
paper's Tab. 6 counts 512 px crops for DFWB (72K) and GoPro (17K: 2,103 frames x 8), so the crops that Restormer's
scripts make are layouts here too.
"""

from __future__ import annotations

from dataclasses import replace

from operators.read.bundled import BundledPhotos
from operators.read.bundled_stereo import BundledStereo
from operators.read.chosen_edits import ChosenEdits
from operators.read.column_pairs import OwnPairs
from operators.read.hub_parquet import HubParquet
from operators.read.img2dataset import Img2Dataset
from operators.read.magicbrush_folder import MagicBrushFolder
from operators.read.masked_parquet import MaskedParquet
from operators.read.nyu_hdf5 import NyuFrames, NyuLabeled
from operators.read.paired_folders import PairedFolders
from operators.read.photos import PhotoFolder
from operators.read.viton_hd import VitonHd
from pipelines.sources.source import Source, Split

_RAIN13K = PairedFolders(
    source="Rain13K",
    licence="research use; collects Rain800, Rain100H/L, Rain14000 and Rain12 under their authors' terms",
    nested=("", "train", "Rain13K", "train/Rain13K"),
    marks=("rain-", "norain-"),
)

RAIN13K = Source(
    # Layout: the "Deraining" folder of https://github.com/swz30/Restormer, which publishes the collection. Pairs: one
    # of the paper's 13,712 was removed, https://github.com/swz30/MPRNet/issues/74. Test sets: test.py there.
    reader=_RAIN13K,
    layout="input/ and target/ (also below train/, Rain13K/ or train/Rain13K/)",
    size="13,711 pairs",
    obtain="download_data.py in the Deraining folder of https://github.com/swz30/Restormer",
    folder="Rain13K",
    pairs=13_711,
    tests=(
        Split(
            reader=replace(
                _RAIN13K,
                split="test",
                input="{group}/input/{name}",
                target="{group}/target/{name}",
                nested=("test", "Rain13K/test"),
            ),
            layout="test/<set>/input/ and target/ (also below Rain13K/): all the sets",
            size="4,300 pairs",
        ),
        *(
            Split(
                reader=replace(
                    _RAIN13K, split=name, nested=(name, f"test/{name}", f"Rain13K/test/{name}", f"Rain13K/{name}")
                ),
                layout=f"test/{name}/input/ and target/ (also below Rain13K/)",
                size=f"{pairs:,} pairs",
            )
            for name, pairs in (
                ("Rain100H", 100),
                ("Rain100L", 100),
                ("Test100", 98),
                ("Test1200", 1_200),
                ("Test2800", 2_800),
            )
        ),
    ),
)

# Rain100H and Rain100L as https://github.com/csdwren/PReNet reads them (DerainDataset.py), in one folder, of the test
# sets the rainy ones also in rainy/; and as https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html has
# them, with two names that its users' code has for the rainy ones: rain/X2/norain-1x2.png, or those of norain/.
_RAIN100 = PairedFolders(
    source="Rain100H and Rain100L",
    licence="research use, under its authors' terms",
    input="[rainy/]rain-{name}",
    target="norain-{name}",
    nested=("", "train", "RainTrainH", "RainTrainL", "rain_data_train_Heavy", "rain_data_train_Light"),
)


def _rain100(reader: PairedFolders, layout: str) -> Source:
    """A layout of Rain100H and Rain100L."""
    tests = {
        "Rain100H": ("Rain100H", "test/Rain100H", "rain_data_test_Heavy", "rain_heavy_test"),
        "Rain100L": ("Rain100L", "test/Rain100L", "rain_data_test_Light", "rain_light_test"),
    }
    return Source(
        reader=reader,
        layout=layout,
        size="1,254 pairs of heavy rain, 200 of light",
        obtain="RainTrainH and RainTrainL, by the links in README.md of https://github.com/csdwren/PReNet",
        tests=tuple(
            Split(
                reader=replace(reader, split=split, nested=folders), layout=f"{folders[0]}/: {layout}", size="100 pairs"
            )
            for split, folders in tests.items()
        ),
    )


RAIN100 = (
    _rain100(_RAIN100, "rain-1.png and norain-1.png in one folder (also below RainTrainH/ or train/)"),
    _rain100(
        replace(_RAIN100, input="rain/[X2/]norain-{name}x2", target="norain/norain-{name}"),
        "rain/X2/norain-1x2.png and norain/norain-1.png",
    ),
    _rain100(
        replace(_RAIN100, input="rain", target="norain", marks=("rain-", "norain-")), "rain/ and norain/ of equal names"
    ),
)
"""Layouts of Rain100H and Rain100L. Folders that have these names themselves are the test sets."""

_RAIN1400 = PairedFolders(
    # Folders and names: prepare_data_Rain12600 in DerainDataset.py of https://github.com/csdwren/PReNet
    source="Rain1400",
    licence="research use, under its authors' terms",
    input="rainy[_][ ]image/{name}_{any}",
    target="ground[_][ ]truth/{name}",
    nested=("", "train", "training", "Rain12600", "rainy_image_dataset/training", "Rain1400/training"),
)

RAIN1400 = Source(
    # 14 rainy images of each of 900 photos to train on, and of 100 to test with
    reader=_RAIN1400,
    layout="rainy_image/1_1.jpg and ground_truth/1.jpg (also below training/)",
    size="12,600 pairs",
    obtain="Rain12600.zip, by the link in README.md of https://github.com/csdwren/PReNet",
    tests=(
        Split(
            reader=replace(
                _RAIN1400,
                split="test",
                nested=("test", "testing", "rainy_image_dataset/testing", "Rain1400/testing", "test/Rain1400"),
            ),
            layout="testing/rainy_image/1_1.jpg and ground_truth/1.jpg",
            size="1,400 pairs",
        ),
    ),
)

_DFWB = PhotoFolder(
    # Folders: Denoising/generate_patches_dfwb.py of https://github.com/swz30/Restormer
    source="DFWB",
    licence="research use: DIV2K, Flickr2K, Waterloo Exploration Database and BSD under their authors' terms",
    folders=("DIV2K", "Flickr2K", "WaterlooED", "BSD400"),
    nested=("", "Downloads", "Datasets/Downloads"),
)

DFWB = Source(
    # DIV2K 800 or 900 (https://github.com/swz30/Restormer/issues/89), Flickr2K 2,650, Waterloo 4,744, BSD400 400
    reader=_DFWB,
    layout="DIV2K/, Flickr2K/, WaterlooED/ and BSD400/ (also below Downloads/)",
    size="8,594 photos, about 20 GB",
    obtain="download_data.py in the Denoising folder of https://github.com/swz30/Restormer",
    folder="DFWB",
    pairs=8_594,
)

DFWB_CROPS = Source(
    # https://github.com/swz30/Restormer, Denoising/generate_patches_dfwb.py
    reader=replace(_DFWB, folders=("DFWB",), nested=("", "train", "Datasets/train")),
    layout="DFWB/ (also below train/) with the 512 px crops that generate_patches_dfwb.py makes",
    size="about 72,000 crops",
    obtain="as DFWB, then generate_patches_dfwb.py of https://github.com/swz30/Restormer",
    folder="DFWB",
)

_SIDD = PairedFolders(
    # Names of the sRGB sets: NOISY_SRGB_010.PNG and GT_SRGB_010.PNG, in SIDD-Medium with the number of the scene before
    # them: https://github.com/swz30/Restormer, Denoising/generate_patches_sidd.py
    source="SIDD",
    licence="as its authors state: https://abdokamel.github.io/sidd",
    input="{group}/[{any}_]NOISY_SRGB_{name}",
    target="{group}/[{any}_]GT_SRGB_{name}",
    nested=("", "Data", "SIDD_Medium_Srgb/Data", "SIDD_Small_sRGB_Only/Data"),
)

SIDD = Source(
    reader=_SIDD,
    layout="Data/<scene>/0001_NOISY_SRGB_010.PNG and 0001_GT_SRGB_010.PNG",
    size="320 pairs, or 160 of SIDD-Small",
    obtain="SIDD-Medium or SIDD-Small, sRGB images only, from https://abdokamel.github.io/sidd",
)

_GOPRO = PairedFolders(
    # Folders: https://github.com/SeungjunNah/DeepDeblur-PyTorch, src/data/gopro_large.py
    source="GoPro",
    licence="CC-BY-4.0",
    input="{group}/blur/{name}",
    target="{group}/sharp/{name}",
    nested=("", "train", "GOPRO_Large/train"),
)
_GOPRO_OBTAIN = "GOPRO_Large from https://seungjunnah.github.io/Datasets/gopro"

GOPRO = Source(
    reader=_GOPRO,
    layout="train/<sequence>/blur/ and sharp/",
    size="2,103 pairs of 1,280 x 720 px",
    obtain=_GOPRO_OBTAIN,
    folder="GoPro",
    pairs=2_103,
    tests=(
        Split(
            reader=replace(_GOPRO, split="test", nested=("test", "GOPRO_Large/test")),
            layout="test/<sequence>/blur/ and sharp/",
            size="1,111 pairs of 1,280 x 720 px",
        ),
    ),
)

GOPRO_GAMMA = Source(
    # As DeepDeblur trains: frames averaged through a camera's gamma curve
    reader=replace(_GOPRO, input="{group}/blur_gamma/{name}"),
    layout="train/<sequence>/blur_gamma/ and sharp/",
    size="2,103 pairs of 1,280 x 720 px",
    obtain=_GOPRO_OBTAIN,
    folder="GoPro",
    pairs=2_103,
    tests=(
        Split(
            reader=replace(
                _GOPRO,
                input="{group}/blur_gamma/{name}",
                split="test",
                nested=("test", "GOPRO_Large/test"),
            ),
            layout="test/<sequence>/blur_gamma/ and sharp/",
            size="1,111 pairs of 1,280 x 720 px",
        ),
    ),
)

GOPRO_CROPS = Source(
    # Motion_Deblurring/generate_patches_gopro.py of https://github.com/swz30/Restormer; names <sequence>-<frame>-<n>
    reader=replace(
        _GOPRO,
        input="input_crops/[{group}-]{name}",
        target="target_crops/[{group}-]{name}",
        nested=("", "GoPro", "train/GoPro", "Datasets/train/GoPro"),
    ),
    layout="input_crops/ and target_crops/ (also below train/GoPro/), as generate_patches_gopro.py makes them",
    size="16,824 crops of 512 px",
    obtain=f"{_GOPRO_OBTAIN}, then the scripts in the Motion_Deblurring folder of https://github.com/swz30/Restormer",
    folder="GoPro",
    pairs=16_824,
)

GOPRO_FLAT = Source(
    # Motion_Deblurring/Datasets of https://github.com/swz30/Restormer; names <sequence>-<frame>
    reader=replace(
        _GOPRO,
        input="input/[{group}-]{name}",
        target="target/[{group}-]{name}",
        nested=("", "train", "GoPro/train", "train/GoPro", "Downloads/GoPro/train"),
    ),
    layout="input/ and target/ (also below train/ or GoPro/train/)",
    size="2,103 pairs of 1,280 x 720 px",
    obtain="download_data.py in the Motion_Deblurring folder of https://github.com/swz30/Restormer",
    folder="GoPro",
    pairs=2_103,
    tests=(
        Split(
            reader=replace(
                _GOPRO,
                split="test",
                input="input/[{group}-]{name}",
                target="target/[{group}-]{name}",
                nested=("test", "GoPro/test", "test/GoPro"),
            ),
            layout="test/GoPro/input/ and target/ (also below GoPro/test/)",
            size="1,111 pairs of 1,280 x 720 px",
        ),
    ),
)

_FIVEK = PairedFolders(
    source="MIT-Adobe FiveK",
    licence="research use only: LicenseAdobe.txt and LicenseAdobeMIT.txt of the dataset",
    input="input/JPG/480p",
    target="expertC/JPG/480p",
    nested=("", "FiveK", "fiveK"),
)

FIVEK_480P = Source(
    # https://github.com/HuiZeng/Image-Adaptive-3DLUT. For training all 5,000, as in Tab. 6, whatever its split files
    # say: those that test.txt names are among them, and --guard keeps them out.
    reader=_FIVEK,
    layout="input/JPG/480p/ and expertC/JPG/480p/",
    size="5,000 pairs",
    obtain="the sRGB set of https://github.com/HuiZeng/Image-Adaptive-3DLUT",
    folder="FiveK",
    pairs=5_000,
    tests=(
        Split(
            reader=replace(_FIVEK, split="test", listed="test.txt"),
            layout="input/JPG/480p/, expertC/JPG/480p/ and test.txt",
            size="the pairs that test.txt names",
        ),
    ),
)

FIVEK_EXPERT_C = Source(
    # https://github.com/cuiziteng/Illumination-Adaptive-Transformer
    reader=replace(_FIVEK, input="input/{name}", target="expertC/{name}"),
    layout="input/ and expertC/",
    size="5,000 pairs",
    obtain="https://github.com/cuiziteng/Illumination-Adaptive-Transformer",
    folder="FiveK",
    pairs=5_000,
)

FIVEK_RETINEXFORMER = Source(
    # https://github.com/caiyuanhao1998/Retinexformer
    reader=replace(_FIVEK, input="input", target="target", nested=("", "train", "FiveK/train")),
    layout="train/input/ and train/target/",
    size="4,500 pairs",
    obtain="https://github.com/caiyuanhao1998/Retinexformer",
    folder="FiveK",
    pairs=4_500,
    tests=(
        Split(
            reader=replace(_FIVEK, split="test", input="input", target="target", nested=("test", "FiveK/test")),
            layout="test/input/ and test/target/",
            size="500 pairs",
        ),
    ),
)

_LOL_V1 = PairedFolders(
    source="LOL v1",
    licence="none stated; research use",
    input="low",
    target="high",
    nested=("our485", "LOLdataset/our485"),
)

LOL_V1 = Source(
    # https://huggingface.co/datasets/geekyrakshit/LoL-Dataset; eval15/ is the benchmark
    reader=_LOL_V1,
    layout="our485/low/ and our485/high/",
    size="485 pairs",
    obtain="https://daooshee.github.io/BMVC2018website/",
    folder="LOL",
    pairs=485,
    tests=(
        Split(
            reader=replace(_LOL_V1, split="test", nested=("eval15", "LOLdataset/eval15")),
            layout="eval15/low/ and eval15/high/",
            size="15 pairs",
        ),
    ),
)

LOL_V1_RETINEXFORMER = Source(
    # https://github.com/caiyuanhao1998/Retinexformer
    reader=replace(_LOL_V1, input="input", target="target", nested=("LOLv1/Train", "Train")),
    layout="LOLv1/Train/input/ and target/",
    size="485 pairs",
    obtain="https://github.com/caiyuanhao1998/Retinexformer",
    folder="LOL",
    pairs=485,
    tests=(
        Split(
            reader=replace(_LOL_V1, split="test", input="input", target="target", nested=("LOLv1/Test", "Test")),
            layout="LOLv1/Test/input/ and target/",
            size="15 pairs",
        ),
    ),
)

_LOL_V2 = PairedFolders(
    # Low/low00001.png and Normal/normal00001.png; re-packed with the same name in both
    source="LOL v2 real",
    licence="none stated; research use",
    input="Low/[low]{name}",
    target="Normal/[normal]{name}",
    nested=("Real_captured/Train", "LOL-v2/Real_captured/Train"),
)

LOL_V2_REAL = Source(
    # https://github.com/flyywh/CVPR-2020-Semi-Low-Light/issues/8 and /11. Its test images are in LOL v1's training set
    reader=_LOL_V2,
    layout="Real_captured/Train/Low/ and Normal/ (also below LOL-v2/)",
    size="689 pairs",
    obtain="https://github.com/flyywh/CVPR-2020-Semi-Low-Light",
    folder="LOL",
    pairs=689,
    tests=(
        Split(
            reader=replace(_LOL_V2, split="test", nested=("Real_captured/Test", "LOL-v2/Real_captured/Test")),
            layout="Real_captured/Test/Low/ and Normal/ (also below LOL-v2/)",
            size="100 pairs",
        ),
    ),
)

LOL_V2_SYNTHETIC = Source(
    # https://github.com/caiyuanhao1998/Retinexformer
    reader=replace(_LOL_V2, source="LOL v2 synthetic", nested=("Synthetic/Train", "LOL-v2/Synthetic/Train")),
    layout="Synthetic/Train/Low/ and Normal/ (also below LOL-v2/)",
    size="900 pairs",
    obtain="https://github.com/flyywh/CVPR-2020-Semi-Low-Light",
    folder="LOL",
    pairs=900,
    tests=(
        Split(
            reader=replace(
                _LOL_V2,
                source="LOL v2 synthetic",
                split="test",
                nested=("Synthetic/Test", "LOL-v2/Synthetic/Test"),
            ),
            layout="Synthetic/Test/Low/ and Normal/ (also below LOL-v2/)",
            size="100 pairs",
        ),
    ),
)

LAION_AESTHETICS = Source(
    # Columns: https://github.com/rom1504/img2dataset, dataset_examples/laion-aesthetic.md
    reader=Img2Dataset(
        source="LAION-Aesthetics",
        licence="URLs and captions CC-BY-4.0; the images belong to their owners",
    ),
    layout="00000.tar and 00000.parquet, and so on, as img2dataset writes them",
    size="500,000 images in the paper; score > 6",
    obtain="img2dataset --output_format webdataset --save_additional_columns '[\"aesthetic\"]', "
    "https://github.com/rom1504/img2dataset",
    folder="LAION-Aesthetics",
)

_ULTRAEDIT_TEXTS = (
    ("instruction", "edit_prompt"),
    ("source_caption", "source_caption"),
    ("target_caption", "target_caption"),
)
_ULTRAEDIT_SCORES = ("clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image", "dinov2_sim", "ssim")

ULTRAEDIT = Source(
    # Columns: https://huggingface.co/datasets/BleachNick/UltraEdit; edit_object and mask_image have no values
    reader=HubParquet(
        source="UltraEdit",
        licence="CC-BY-4.0",
        files="FreeForm*.parquet",
        input="source_image",
        target="edited_image",
        texts=_ULTRAEDIT_TEXTS,
        scores=_ULTRAEDIT_SCORES,
    ),
    layout="data/FreeForm-00000-of-00390.parquet and so on",
    size="500,000 pairs, about 190 GB",
    obtain="hf download BleachNick/UltraEdit_500k --repo-type dataset",
    folder="UltraEdit_500k",
)

ULTRAEDIT_REGION = Source(
    # The same columns, of which mask_image is filled: https://huggingface.co/datasets/BleachNick/UltraEdit_Region_Based_100k,
    # 93 files. White is edited: the default of --mask_column in traning/train_sd3_pix2pix.py of
    # https://github.com/HaozheZhao/UltraEdit, whose app.py draws its masks so.
    reader=MaskedParquet(
        source="UltraEdit regions",
        licence="CC-BY-4.0",
        files="RegionBase*.parquet",
        input="source_image",
        target="edited_image",
        mask="mask_image",
        marks="white",
        texts=_ULTRAEDIT_TEXTS,
        scores=_ULTRAEDIT_SCORES,
    ),
    layout="data/RegionBase-00000-of-00093.parquet and so on",
    size="100,000 pairs",
    obtain="hf download BleachNick/UltraEdit_Region_Based_100k --repo-type dataset",
)
"""Edits with the region that is edited. Not one of the paper's datasets, which counts the free-form edits alone."""

_MAGICBRUSH = MaskedParquet(
    # Masks: the input as RGBA, transparent where it is to be edited, often of another size,
    # https://github.com/OSU-NLP-Group/MagicBrush/issues/10
    mask="mask_img",
    marks="transparent",
    source="MagicBrush",
    licence="CC-BY-4.0",
    files="train-*.parquet",
    input="source_img",
    target="target_img",
    texts=(("instruction", "instruction"),),
    session="img_id",
    turn="turn_index",
)

MAGICBRUSH = Source(
    # Columns and the dev split: https://huggingface.co/datasets/osunlp/MagicBrush. The test split is a zip file only,
    # https://github.com/OSU-NLP-Group/MagicBrush, and dev is published as one too.
    reader=_MAGICBRUSH,
    layout="data/train-00000-of-00051-<hash>.parquet and so on",
    size="8,807 turns of 4,512 sessions, 22 GB",
    obtain="hf download osunlp/MagicBrush --repo-type dataset",
    folder="MagicBrush",
    tests=(
        Split(
            reader=replace(_MAGICBRUSH, split="dev", files="dev-*.parquet"),
            layout="data/dev-00000-of-00004-<hash>.parquet and so on",
            size="528 turns of 266 sessions",
        ),
    ),
)

MAGICBRUSH_FOLDER = Source(
    # Names and keys: evaluation/image_eval.py of https://github.com/OSU-NLP-Group/MagicBrush
    reader=MagicBrushFolder(split="test"),
    layout="edit_turns.json and images/<session>/ (also below test/), as the zip file has them",
    size="1,053 turns of 535 sessions",
    obtain="the zip file, by the link in README.md of https://github.com/OSU-NLP-Group/MagicBrush",
    tests=(
        Split(
            reader=MagicBrushFolder(split="dev"),
            layout="edit_turns.json and images/<session>/ (also below dev/), as the zip file has them",
            size="528 turns of 266 sessions",
        ),
    ),
)
"""The test split, which is published as a zip file alone: there is nothing in it to train on."""

INSTRUCTPIX2PIX = Source(
    # Columns and counts: https://huggingface.co/datasets/timbrooks/instructpix2pix-clip-filtered. Section 4.4 tests on
    # 100 edits of it and does not say which; these are of the first 4 of its 262 files, 2 of 63 GB.
    reader=ChosenEdits(
        source="InstructPix2Pix",
        licence="none stated; research use",
        files="train-0000[0-3]-of-00262-*.parquet",
        of_files=4,
        count=100,
        input="original_image",
        target="edited_image",
        texts=(
            ("instruction", "edit_prompt"),
            ("source_caption", "original_prompt"),
            ("target_caption", "edited_prompt"),
        ),
        split="test",
    ),
    layout="data/train-00000-of-00262-<hash>.parquet to train-00003-of-00262-<hash>.parquet",
    size="100 edits that add or remove an object",
    obtain="hf download timbrooks/instructpix2pix-clip-filtered --repo-type dataset --include 'data/train-0000[0-3]*'",
)
"""A test split alone: the paper does not train on InstructPix2Pix."""

NYU_FRAMES = Source(
    # https://github.com/dwofk/fast-depth; the same frames at https://huggingface.co/datasets/sayakpaul/nyu_depth_v2
    reader=NyuFrames(),
    layout="train/<scene>/<number>.h5 (also below nyudepthv2/)",
    size="47,584 pairs, 35 GB",
    obtain="https://github.com/dwofk/fast-depth",
    folder="NYU-v2",
    pairs=47_584,
    tests=(
        Split(
            reader=replace(NyuFrames(), split="test", nested=("val", "nyudepthv2/val")),
            layout="val/official/<number>.h5 (also below nyudepthv2/)",
            size="654 pairs",
        ),
    ),
)

_NYU_SYNC = PairedFolders(
    source="NYU Depth v2 sync",
    licence="none stated; research use",
    input="{group}/rgb_{name}",
    target="{group}/sync_depth_{name}",
    target_values="depth_mm",
    nested=("", "sync", "nyu_depth_v2/sync"),
)

NYU_SYNC = Source(
    # https://github.com/cleinc/bts, pytorch/README.md and utils/sync_project_frames_multi_threads.m; the test images as
    # utils/extract_official_train_test_set_from_mat.py writes them
    reader=_NYU_SYNC,
    layout="<scene>/rgb_00000.jpg and sync_depth_00000.png (also below sync/)",
    size="at least 24,231 pairs",
    obtain="sync.zip, by the link in pytorch/README.md of https://github.com/cleinc/bts",
    folder="NYU-v2",
    tests=(
        Split(
            reader=replace(
                _NYU_SYNC,
                split="test",
                nested=(
                    "test",
                    "official_splits/test",
                    "nyu_depth_v2/official_splits/test",
                ),
            ),
            layout="official_splits/test/<scene>/rgb_00000.jpg and sync_depth_00000.png",
            size="654 pairs",
        ),
    ),
)

NYU_LABELED = Source(
    # https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html; keys and axes as read by cleinc/bts,
    # utils/extract_official_train_test_set_from_mat.py
    reader=NyuLabeled(),
    layout="nyu_depth_v2_labeled.mat and splits.mat",
    size="795 training pairs, 3 GB",
    obtain="https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html",
    folder="NYU-v2",
    tests=(
        Split(
            reader=NyuLabeled(split="test"),
            layout="nyu_depth_v2_labeled.mat and splits.mat",
            size="654 pairs, 3 GB",
        ),
    ),
)

NYU = (NYU_SYNC, NYU_FRAMES, NYU_LABELED)
"""The layouts of NYU Depth v2."""

_ADE20K = PairedFolders(
    source="ADE20K",
    licence="images for non-commercial research and education; annotations BSD-3-Clause",
    input="images/training",
    target="annotations/training",
    target_values="class_ids",
    nested=("", "ADEChallengeData2016"),
)

ADE20K = Source(
    # https://github.com/CSAILVision/sceneparsing
    reader=_ADE20K,
    layout="images/training/ and annotations/training/ (also below ADEChallengeData2016/)",
    size="20,210 pairs, about 1 GB",
    obtain="the scene parsing data of http://sceneparsing.csail.mit.edu",
    folder="ADE20K",
    pairs=20_210,
    tests=(
        Split(
            reader=replace(_ADE20K, split="validation", input="images/validation", target="annotations/validation"),
            layout="images/validation/ and annotations/validation/ (also below ADEChallengeData2016/)",
            size="2,000 pairs",
        ),
    ),
)

_SCANNET = PairedFolders(
    source="ScanNet",
    licence="ScanNet terms of use: non-commercial research and education, on agreement",
    input="{group}_{name}-color",
    target="{group}_{name}-normal",
    target_values="negated_normals",
    mask="{group}_{name}-orient-mask",
    nested=("", "scannet-frames"),
)

SCANNET = Source(
    # https://github.com/hjwdzh/FrameNet, src/data/download.sh. Signs: n is proportional to 0.5 - rgb / 255 in
    # https://github.com/MARSLab-UMN/TiltedImageSurfaceNormal, dataset_loader/dataset_loader_scannet.py; camera axes x
    # right, y down, z forward. {group} is the room: scene0016_02 is its third scan. FrameNet's own split is a pickle,
    # train_test_split.pkl, which is not read: a pickle can run code. The test images are those of it that
    # https://github.com/baegwangbin/DSINE evaluates on, data/datasets/scannet, in whose files the signs are the same.
    # They are not told apart from the frames that are trained on: --guard keeps them out. Masks: mask_info in
    # FrameNet's src/dataset.py, all but 0 is valid; DSINE's files have none, what is invalid there is black.
    reader=_SCANNET,
    layout="<scene>/frame-000000-color.png, -normal.png and -orient-mask.png (also below scannet-frames/)",
    size="260,000 pairs in the paper",
    obtain="scannet-frame-links.txt in https://github.com/hjwdzh/FrameNet, after agreeing to ScanNet's terms",
    folder="ScanNet",
    tests=(
        Split(
            reader=replace(
                _SCANNET,
                split="test",
                input="scene{group}_{name}_img",
                target="scene{group}_{name}_normal",
                mask="",
                nested=("", "scannet", "dsine_eval/scannet"),
            ),
            layout="dsine_eval/scannet/<scene>/000000_img.png and 000000_normal.png",
            size="300 pairs",
        ),
    ),
)

NYU_NORMALS = Source(
    # GeoNet's normals of the labelled test images, as https://github.com/baegwangbin/DSINE publishes them to evaluate
    # on, data/datasets/nyuv2; decoded there as ScanNet's are, so the signs are those of FrameNet's files.
    reader=PairedFolders(
        source="NYU Depth v2 normals",
        licence="none stated; research use",
        input="test/{name}_img",
        target="test/{name}_normal",
        target_values="negated_normals",
        nested=("", "nyuv2", "dsine_eval/nyuv2"),
        split="test",
    ),
    layout="dsine_eval/nyuv2/test/000000_img.png and 000000_normal.png",
    size="654 pairs",
    obtain="dsine_eval, by the link in README.md of https://github.com/baegwangbin/DSINE",
)
"""A test split alone: section 4 tests normals on NYU-v2 and trains on ScanNet."""

VITON_HD = Source(
    # https://github.com/shadow2496/VITON-HD and https://github.com/sangyun884/HR-VITON
    reader=VitonHd(),
    layout="train_pairs.txt and train/ with image/, cloth/ and agnostic-v3.2/",
    size="11,647 pairs of 768 x 1,024 px, about 5 GB",
    obtain="https://github.com/shadow2496/VITON-HD",
    folder="VITON-HD",
    pairs=11_647,
    tests=(
        Split(
            reader=VitonHd(split="test"),
            layout="test_pairs.txt and test/ with image/, cloth/ and agnostic-v3.2/",
            size="2,032 pairs of 768 x 1,024 px",
        ),
    ),
)

PHOTOS = Source(
    reader=PhotoFolder(source="photos", licence="as the owner of the photos states"),
    layout="a folder of clean photos",
    size="any",
    obtain="your own, or DIV2K, Flickr2K, BSD",
)

OWN_PAIRS = Source(
    reader=OwnPairs(),
    layout="pairs in JSON Lines, CSV, Parquet or WebDataset tars, or as img2dataset downloads their columns",
    size="any",
    obtain="your own: --columns says what the columns are",
)

BUNDLED = Source(
    reader=BundledPhotos(),
    layout="inside the scikit-image and scikit-learn packages",
    size="10 photos, 32 crops of each",
    obtain="installed with this project",
)

BUNDLED_STEREO = Source(
    reader=BundledStereo(),
    layout="inside the scikit-image package",
    size="64 crops of one photo with measured depth",
    obtain="installed with this project",
)

# fmt: off
DATASETS = (
    DFWB, DFWB_CROPS, GOPRO, GOPRO_GAMMA, GOPRO_CROPS, GOPRO_FLAT, RAIN13K, FIVEK_480P, FIVEK_EXPERT_C,
    FIVEK_RETINEXFORMER, LOL_V1, LOL_V1_RETINEXFORMER, LOL_V2_REAL, LOL_V2_SYNTHETIC, LAION_AESTHETICS, ULTRAEDIT,
    MAGICBRUSH, NYU_FRAMES, NYU_SYNC, NYU_LABELED, ADE20K, SCANNET, VITON_HD,
)
# fmt: on
"""The datasets that have a folder below a data root, in the order of Tab. 6. Records of one source are
alternative layouts of it."""
