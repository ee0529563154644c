"""The public datasets and bundled inputs we read: one record each, with licence, size and how to obtain it."""

from __future__ import annotations

from dataclasses import dataclass

from operators.base import Reader
from operators.read_bundled import BundledPhotos
from operators.read_paired_folders import PairedFolders
from operators.read_photos import PhotoFolder


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset as published: the reader of its layout, and what a user needs to know to get it."""

    reader: Reader
    layout: str
    """The folders that the reader expects below DATA, for messages and the README."""
    size: str
    obtain: str


RAIN13K = Source(
    # Layout: the "Deraining" folder of https://github.com/swz30/Restormer, which publishes the collection.
    reader=PairedFolders(
        source="Rain13K",
        licence="research use; collects Rain800, Rain100H/L, Rain14000 and Rain12 under their authors' terms",
        nested=("", "train", "Rain13K", "train/Rain13K"),
    ),
    layout="input/ and target/ (also below train/, Rain13K/ or train/Rain13K/)",
    size="13,712 pairs",
    obtain="download_data.py in the Deraining folder of https://github.com/swz30/Restormer",
)

PHOTOS = Source(
    reader=PhotoFolder(source="photos", licence="as the owner of the photos states"),
    layout="a folder of clean photos",
    size="any",
    obtain="your own, or DIV2K, Flickr2K, BSD",
)

BUNDLED = Source(
    reader=BundledPhotos(),
    layout="inside the scikit-image and scikit-learn packages",
    size="10 photos, 32 crops of each",
    obtain="installed with this project",
)
