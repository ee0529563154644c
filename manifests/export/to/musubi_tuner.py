"""Folders of control and target images with captions, and the TOML file of musubi-tuner that names them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.sample import Picture, Sample

_INDEX = "files"

_MOST_IN_FOLDERS = 10_000
"""Examples that the reader finds in folders within some minutes: its time grows with their square."""


class MusubiTuner:
    """`target/<name>.jpg` with its caption `target/<name>.txt`, and `control/<name>_0.jpg`, `control/<name>_1.jpg`, ...

    The reader finds the controls of a target by the beginning of their names, and sorts them by the number at the end.
    """

    name = "musubi-tuner"
    summary = "Control and target folders with a dataset TOML, for FLUX.1 Kontext, FLUX.2, Qwen-Image-Edit."
    reader = "kohya-ss/musubi-tuner@30c658c4f4b0bf05038b3346eff9670259b10fc7:src/musubi_tuner/dataset/datasources.py"
    carries = Carries(most_inputs=None, encodings=frozenset(["jpeg", "png", "webp", "bmp", "avif"]))

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        for sample in samples:
            *controls, target = [part.picture(stem, picture) for stem, picture in _pictures(sample)]
            part.text(f"target/{sample.name}.txt", sample.instruction)
            part.line(_INDEX, [target, controls, sample.instruction])

    def finish(self, made: Made) -> None:
        """Write metadata.jsonl, which names the same files, and dataset.toml, with the folders or, for many, that."""
        place = made.place
        made.write("metadata.jsonl", (_line(place, *line) for line in made.lines(_INDEX)))
        if made.examples <= _MOST_IN_FOLDERS:
            files = f"""\
image_directory = {_quoted(f"{place}/target")}    # the images to be made, with the instructions as captions
control_directory = {_quoted(f"{place}/control")}  # the input images
"""
        else:
            files = f"""\
# The files of target/ and control/. To be found in those folders, each target would be compared with each control.
image_jsonl_file = {_quoted(f"{place}/metadata.jsonl")}
"""
        made.text(
            "dataset.toml",
            f"""\
# Paths are where this was exported to: change them, here and in metadata.jsonl, if it is moved.
[general]
resolution = [1024, 1024]
caption_extension = ".txt"
batch_size = 1
enable_bucket = true
bucket_no_upscale = true

[[datasets]]
{files}cache_directory = {_quoted(f"{place}/cache")}
# control_resolution = [1024, 1024]  # recommended for Qwen-Image-Edit
""",
        )

    def places(self, sample: Sample) -> Iterable[Place]:
        for number, (stem, picture) in enumerate(_pictures(sample)):
            is_target = stem.startswith("target/")
            yield Place(
                ours=f"output ({picture.role})" if is_target else f"input {number + 1} ({picture.role})",
                theirs=f"`{stem}.{picture.file().ending}`",
                meaning="target" if is_target else f"control {number}",
                shows=picture,
            )
        yield Place(
            ours="instruction", theirs=f"`target/{sample.name}.txt`", meaning="caption", shows=sample.instruction
        )

    def how_to(self) -> str:
        return """\
```
python src/musubi_tuner/flux_kontext_cache_latents.py --dataset_config FOLDER/dataset.toml ...
```

FLUX.1 Kontext and the first Qwen-Image-Edit take the first control alone, Qwen-Image-Edit-2509 and FLUX.2 several. Set
`resolution`, and `control_resolution` or `no_resize_control`, as its docs/dataset_config.md says for the model:
without, controls get the target's size."""


def _pictures(sample: Sample) -> Iterator[tuple[str, Picture]]:
    """The pictures with the names of their files, without endings."""
    for number, picture in enumerate(sample.inputs):
        yield f"control/{sample.name}_{number}", picture
    assert sample.output is not None
    yield f"target/{sample.name}", sample.output


def _line(place: str, target: str, controls: list[str], caption: str) -> bytes:
    value = {"image_path": f"{place}/{target}", "caption": caption}
    value |= {f"control_path_{number}": f"{place}/{path}" for number, path in enumerate(controls)}
    return f"{json.dumps(value, ensure_ascii=False)}\n".encode()


def _quoted(text: str) -> str:
    """A string of TOML, which JSON spells alike but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
