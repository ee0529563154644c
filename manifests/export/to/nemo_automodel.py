"""The image-edit manifest of NeMo AutoModel (NVIDIA-NeMo/Automodel), with the images as files.

    images/...       the inputs and outputs
    manifest.jsonl   one line an example: id, prompt, media, metadata

AutoModel trains on a cache of latents, which its `QwenImageEditCacheEncoder.encode_manifest` makes of such a manifest.
`media` is ordered: the output once, as "target", then each input twice: as "context", of which the latent is made, and
as "condition", which the text encoder sees beside the prompt. A mask is kept where AutoModel's own exporter keeps
that of MagicBrush, in the metadata, which no training reads yet. There is no place for in-context examples, and an
example needs an input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.image_files import PILLOW_ENCODINGS, paths_of, write_images
from manifests.export.sample import Sample


class NemoAutoModel:
    """NeMo AutoModel's image-edit manifest: see the module's text."""

    name = "nemo-automodel"
    summary = "The image-edit manifest of NeMo AutoModel, with any number of inputs."
    reader = (
        "NVIDIA-NeMo/Automodel@36044ad3d139363fb6c73c24af2e7c6b65ec52f6:"
        "nemo_automodel/components/models/qwen_image_edit/preprocessing.py"
    )
    carries = Carries(most_inputs=None, masks=True, encodings=PILLOW_ENCODINGS)

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        """Write the images of a part, and a line for each example."""
        for sample in samples:
            paths = write_images(sample, part)
            media = [{"role": "target", "file_name": paths.output}]
            media += [{"role": role, "file_name": path} for role in ("context", "condition") for path in paths.inputs]
            row: dict[str, Any] = {name: sample.value(name) for name in ("task", "source", "source_ref", "licence")}
            if paths.mask:
                row["mask"] = {"media_type": "image", "file_name": paths.mask}
            part.line(
                "manifest",
                {
                    "id": sample.name,
                    "prompt": sample.instruction,
                    "media": media,
                    # The reader wants one name and one split in all lines. Without a row_index it counts lines.
                    "metadata": {"dataset_name": "xprompt", "dataset_split": "train", "row": row},
                },
            )

    def finish(self, made: Made) -> None:
        """Write the manifest."""
        made.write_lines("manifest.jsonl", "manifest")

    def places(self, sample: Sample) -> Iterable[Place]:
        """The media of an example's line."""
        assert sample.output
        paths = paths_of(sample)
        for number, (picture, path) in enumerate(zip(sample.inputs, paths.inputs, strict=True), start=1):
            yield Place(
                ours=f"input {number} ({picture.role})",
                theirs=f'`media`, roles "context" and "condition": `{path}`',
                meaning=f"context latent {number}, and image {number} beside the prompt",
                shows=picture,
            )
        yield Place(ours="instruction", theirs="`prompt`", meaning="the prompt", shows=sample.instruction)
        yield Place(
            ours=f"output ({sample.output.role})",
            theirs=f'`media`, role "target": `{paths.output}`',
            meaning="the target latent",
            shows=sample.output,
        )
        if sample.mask:
            yield Place(
                ours="mask",
                theirs=f"`metadata.row.mask.file_name`: `{paths.mask}`",
                meaning="kept with the example, and not read in training",
                shows=sample.mask,
            )

    def how_to(self) -> str:
        """The script that makes the cache, and the key of the recipe that takes it."""
        return (
            "Make the cache of latents with NeMo AutoModel, on its GPUs:\n\n"
            "```python\n"
            "from pathlib import Path\n\n"
            "from nemo_automodel.components.models.qwen_image_edit.preprocessing import QwenImageEditCacheEncoder\n\n"
            'if __name__ == "__main__":\n'
            "    QwenImageEditCacheEncoder().encode_manifest(\n"
            '        manifest_path=Path("FOLDER/manifest.jsonl"),\n'
            '        output_dir=Path("CACHE"),\n'
            "        max_pixels=1024 * 1024,\n"
            "        resolution_preset=None,\n"
            "        num_gpus=8,\n"
            "        verify=True,\n"
            "    )\n"
            "```\n\n"
            "and train with `examples/diffusion/finetune/qwen_image_edit_2511_flow.yaml`, its "
            "`data.dataloader.cache_dir` set to CACHE.\n"
        )
