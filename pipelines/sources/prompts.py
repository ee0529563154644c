"""Sources from which models make pictures: recipes of prompts, and photos to begin with. One record each."""

from __future__ import annotations

from dataclasses import replace

from operators.read.bundled import BundledPhotos
from operators.read.bundled_person import BundledPerson
from operators.read.person_prompts import PersonPrompts
from operators.read.photo_pairs import PhotoPairs
from operators.read.photos import PhotoFolder
from operators.read.pose_groups import PoseGroups
from operators.read.style_prompts import StylePrompts
from pipelines.sources import datasets
from pipelines.sources.source import Source

STYLE_PROMPTS = Source(
    # Tab. 7: 10K pairs are kept
    reader=StylePrompts(),
    layout="none: prompts",
    size="192 candidate pairs, or COUNT",
    obtain="made by FLUX.1 and Stable Cascade: MODELS",
)

PHOTO_PAIRS = Source(
    reader=PhotoPairs(photos=PhotoFolder(source="photos", licence="as the owner of the photos states")),
    layout="a folder of photos",
    size="any: each photo once for its layout",
    obtain="your own, or DIV2K, Flickr2K, BSD",
)

DFWB_PAIRS, DFWB_CROP_PAIRS = (
    replace(photos, reader=PhotoPairs(photos=photos.reader), pairs=None)
    for photos in (datasets.DFWB, datasets.DFWB_CROPS)
    if isinstance(photos.reader, PhotoFolder)
)
"""The photos of DFWB, or crops of them, two by two: what a recipe takes where there is no folder of photos."""

BUNDLED_PAIRS = Source(
    reader=PhotoPairs(photos=BundledPhotos(crops_per_photo=1)),
    layout="inside the scikit-image and scikit-learn packages",
    size="10 pairs of crops",
    obtain="installed with this project",
)

FRAMES = Source(
    reader=PhotoPairs(
        photos=PhotoFolder(source="frames of clips", licence="as the owner of the clips states", folders=("frames",)),
        roles=("target", "reference"),
        within_folder=True,
    ),
    layout="frames/<clip>/<frame>",
    size="any: each frame once, with another one of its clip",
    obtain="your own clips, cut into frames some tenths of a second apart",
)

CLIPS = Source(
    reader=PhotoPairs(
        photos=PhotoFolder(source="clips", licence="as the owner of the clips states"),
        roles=("target", "reference"),
        within_folder=True,
    ),
    layout="<clip>/<frame>",
    size="any: each frame once, with another one of its clip",
    obtain="your own clips, cut into frames some tenths of a second apart",
    folder="frames",
)
"""FRAMES as the folder of a data root; given as DATA, such a folder is one of photos."""

BUNDLED_TRY_ON = Source(
    reader=BundledPerson(),
    layout="inside the scikit-image package",
    size="8 textures for an astronaut's suit",
    obtain="installed with this project",
)

BUNDLED_PERSON = Source(
    reader=PoseGroups(photos=BundledPhotos(photos=("skimage/data/astronaut.png",), crops_per_photo=8, side_px=400)),
    layout="inside the scikit-image package",
    size="8 crops of the photo of an astronaut, for 4 persons each",
    obtain="installed with this project",
)

PEOPLE = Source(
    reader=PoseGroups(photos=PhotoFolder(source="photos of people", licence="as the owner of the photos states")),
    layout="a folder of photos, each of one person",
    size="any: each photo for 4 persons in its pose",
    obtain="your own",
)

PERSON_PROMPTS = Source(
    # Tab. 7: 10K pairs
    reader=PersonPrompts(),
    layout="none: prompts from which models make the pictures",
    size="600 candidate pairs, 4 in each pose, or COUNT",
    obtain="made by Stable Diffusion 1.5 or FLUX.1 and a ControlNet: MODELS",
)
