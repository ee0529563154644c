"""Interleaved conversations for Lumina-mGPT (Alpha-VLLM/Lumina-mGPT): the kind of model that X-Prompt is.

    images/...    the images
    data.json     a list with an entry an example: conversations, image

Each turn is a "human" who shows the inputs and says the instruction, and a "gpt" who answers with an image or a text.
<|image|> in a text stands for the next path of `image`. In-context examples are earlier turns, the best one last: what
X-Prompt compresses into tokens of its own is here read in full. An example with <|image|> in its own words, or with the
mark that ends a turn there, would be read as another conversation, and is left off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.image_files import PILLOW_ENCODINGS, located, paths_of, write_images
from manifests.export.sample import Sample

_IMAGE = "<|image|>"
_END_OF_TURN = "<reserved08706>"


class LuminaMgpt:
    """Lumina-mGPT's conversations: see the module's text."""

    name = "lumina-mgpt"
    summary = "Interleaved conversations with in-context examples as turns, for Lumina-mGPT: all kinds of examples."
    reader = "Alpha-VLLM/Lumina-mGPT@104abe453ec1acca5863698629c4db2111b0b3fc:xllmx/data/item_processor.py"
    carries = Carries(
        kinds=frozenset(["generate", "describe"]),
        least_inputs=0,
        most_inputs=None,
        contexts=True,
        encodings=PILLOW_ENCODINGS,
    )

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        """Write the images of a part, and an entry for each example."""
        for sample in samples:
            turns = _turns(sample)
            texts = [text for turn in turns for text in (turn.instruction, turn.text or "")]
            if any(mark in text for text in texts for mark in (_IMAGE, _END_OF_TURN)):
                part.leave_off(f"examples with {_IMAGE} or {_END_OF_TURN} in a text")
                continue
            images = []
            for turn in turns:
                paths = write_images(turn, part)
                images += [*paths.inputs, *([paths.output] if paths.output else [])]
            conversations = [said for turn in turns for said in _said(turn)]
            part.line("data", {"id": sample.name, "conversations": conversations, "image": images})

    def finish(self, made: Made) -> None:
        """Write the list, with absolute paths, which the reader opens as they are."""
        made.write("data.json", _entries(made))

    def places(self, sample: Sample) -> Iterable[Place]:
        """The turns of an example."""
        turns = _turns(sample)
        image = 0
        for number, turn in enumerate(turns):
            context = f"in-context example {len(turns) - 1 - number}, " if turn is not sample else ""
            human, gpt = f"`conversations[{2 * number}]`", f"`conversations[{2 * number + 1}]`"
            paths = paths_of(turn)
            for column, (picture, path) in enumerate(zip(turn.inputs, paths.inputs, strict=True), start=1):
                yield Place(
                    ours=f"{context}input {column} ({picture.role})",
                    theirs=f"`image[{image}]`: `{path}`",
                    meaning=f"image {column} of {human}, by the human",
                    shows=picture,
                )
                image += 1
            yield Place(
                ours=f"{context}instruction",
                theirs=human,
                meaning="what the human asks",
                shows=turn.instruction,
            )
            if turn.output:
                yield Place(
                    ours=f"{context}output ({turn.output.role})",
                    theirs=f"`image[{image}]`: `{paths.output}`",
                    meaning=f"the answer, {gpt}, which is learnt",
                    shows=turn.output,
                )
                image += 1
            else:
                yield Place(
                    ours=f"{context}text", theirs=gpt, meaning="the answer, which is learnt", shows=turn.text or ""
                )

    def how_to(self) -> str:
        """The script that makes tokens of the list."""
        return (
            "In `lumina_mgpt/` of Lumina-mGPT's repository:\n\n"
            "```\n"
            "python -u pre_tokenize/pre_tokenize.py --splits 1 --rank 0 --target_size 768 "
            "--in_filename FOLDER/data.json --out_dir TOKENS\n"
            "```\n\n"
            "and on as its TRAIN.md says. Paths in data.json are absolute: of a folder that is moved, replace the old "
            "path in it. The answers of in-context examples are learnt too.\n"
        )


def _turns(sample: Sample) -> list[Sample]:
    """The in-context examples, the best last, and the sample."""
    return [*reversed(sample.contexts), sample]


def _said(turn: Sample) -> list[dict[str, str]]:
    answer = _IMAGE if turn.output else turn.text
    assert answer is not None
    return [
        {"from": "human", "value": _IMAGE * len(turn.inputs) + turn.instruction},
        {"from": "gpt", "value": answer},
    ]


def _entries(made: Made) -> Iterator[bytes]:
    yield b"["
    for number, line in enumerate(made.lines("data")):
        entry: dict[str, Any] = {**line, "image": [located(path, made) for path in line["image"]]}
        yield (b",\n" if number else b"\n") + json.dumps(entry).encode()
    yield b"\n]\n"
