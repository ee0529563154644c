"""Text to image, from captioned photos (paper Tab. 6)."""

from __future__ import annotations

from operators.word.instruct_source import Caption
from operators.word.recaption import Recaption
from pipelines.sources import datasets
from pipelines.tasks.task import TWO, Task

TEXT2IMG = Task(
    name="text2img",
    prototype_task="text-to-image",
    sources=(datasets.LAION_AESTHETICS,),
    chain=(
        Recaption(),
        Caption(),
    ),
    examples=TWO,
    in_context=(),  # paper section 4: an in-context example is of an image-to-image task, which captioning is not
)
