"""Folders of control and target images with captions, and the entry of ai-toolkit's configuration that names them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.sample import Picture, Sample

_INDEX = "controls"


class AiToolkit:
    """`target/<name>.jpg` with its caption `target/<name>.txt`, `control_1/<name>.jpg`, `control_2/<name>.jpg`, ...,
    and `mask/<name>.png`. The reader finds what belongs to a target by its name without ending, in each folder."""

    name = "ai-toolkit"
    summary = "Control and target folders with a snippet of configuration, for FLUX.1 Kontext, Qwen-Image-Edit."
    reader = (
        "ostris/ai-toolkit@27a03a91f23eb1b757d5ec2e80ee3e129cfcc350:toolkit/dataloader_mixins.py and data_loader.py"
    )
    carries = Carries(most_inputs=None, masks=True, encodings=frozenset(["jpeg", "png", "webp"]))

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        for sample in samples:
            for stem, picture in _pictures(sample):
                part.picture(stem, picture)
            part.text(f"target/{sample.name}.txt", sample.instruction)
            part.line(_INDEX, [len(sample.inputs), sample.mask is not None])

    def finish(self, made: Made) -> None:
        """Write datasets.yaml: the part of a job's configuration under config, process, datasets."""
        most, masks = 0, False
        for controls, has_mask in made.lines(_INDEX):
            most, masks = max(most, controls), masks or has_mask

        def folder(name: str) -> str:
            return json.dumps(f"{made.place}/{name}", ensure_ascii=False)  # a string of JSON is one of YAML

        lines = [
            "# For config: process: - datasets. Paths are where this was exported to: change them if it is moved.",
            "datasets:",
            f"  - folder_path: {folder('target')}  # the images to be made, with the instructions as captions",
            "    control_path:                   # the input images, in order",
            *(f"      - {folder(f'control_{number}')}" for number in range(1, most + 1)),
            '    caption_ext: "txt"',
            "    resolution: [512, 768, 1024]",
        ]
        if masks:
            lines += [
                "    # Where the images differ. As mask_path it weights the loss: take the # away if that is wanted.",
                f"    # mask_path: {folder('mask')}",
            ]
        made.text("datasets.yaml", "\n".join(lines) + "\n")

    def places(self, sample: Sample) -> Iterable[Place]:
        for stem, picture in _pictures(sample):
            folder, _, number = stem.partition("/")[0].partition("_")
            ours = {"target": "output", "mask": "mask"}.get(folder, f"input {number}")
            meaning = {"mask": "mask of the loss, if mask_path names it"}.get(folder, f"{folder} {number}".strip())
            yield Place(
                ours=f"{ours} ({picture.role})",
                theirs=f"`{stem}.{picture.file().ending}`",
                meaning=meaning,
                shows=picture,
            )
        yield Place(
            ours="instruction", theirs=f"`target/{sample.name}.txt`", meaning="caption", shows=sample.instruction
        )

    def how_to(self) -> str:
        return """\
Put what is in `FOLDER/datasets.yaml` into the job's configuration, at `config: process: - datasets:`.

FLUX.1 Kontext takes one control folder, Qwen-Image-Edit-2509 up to three. WebP is read by the current loader, though
the comment in its example configuration says otherwise."""


def _pictures(sample: Sample) -> Iterator[tuple[str, Picture]]:
    """The pictures with the names of their files, without endings."""
    for number, picture in enumerate(sample.inputs, 1):
        yield f"control_{number}/{sample.name}", picture
    assert sample.output is not None
    yield f"target/{sample.name}", sample.output
    if sample.mask is not None:
        yield f"mask/{sample.name}", sample.mask
