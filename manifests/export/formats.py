"""All formats of `xprompt export`, by name."""

from __future__ import annotations

from manifests.export.format import Format
from manifests.export.to.ai_toolkit import AiToolkit
from manifests.export.to.bagel import Bagel
from manifests.export.to.chat import Chat
from manifests.export.to.flat_parquet import FlatParquet
from manifests.export.to.imagefolder import ImageFolder
from manifests.export.to.instruct_pix2pix import InstructPix2Pix
from manifests.export.to.lumina_mgpt import LuminaMgpt
from manifests.export.to.musubi_tuner import MusubiTuner
from manifests.export.to.nemo_automodel import NemoAutoModel
from manifests.export.to.omnigen2 import OmniGen2
from manifests.export.to.visualcloze import VisualCloze

FORMATS: tuple[Format, ...] = (
    InstructPix2Pix(),
    ImageFolder(),
    MusubiTuner(),
    AiToolkit(),
    Bagel(),
    OmniGen2(),
    NemoAutoModel(),
    VisualCloze(),
    LuminaMgpt(),
    Chat(),
    FlatParquet(),
)
"""In the order of --help."""


def format_named(name: str) -> Format:
    """The format of a name. Raises ValueError, with the names that there are."""
    for one in FORMATS:
        if one.name == name:
            return one
    raise ValueError(f"there is no format {name}: there are {', '.join(one.name for one in FORMATS)}")
