"""Chats about images for vision-language models: describe examples, as turns of a user and an assistant.

    images/...           the images
    metadata.jsonl       for `datasets.load_dataset(FOLDER)`, and TRL: messages of parts, images_file_names
    messages.jsonl       for ms-swift and LLaMA-Factory: messages of texts with <image> in them, images
    dataset_info.json    names messages.jsonl to LLaMA-Factory

In both the images are listed in the order in which they are shown: those of a turn stand before its text. In-context
examples are earlier turns, the best one last. A generate example, whose answer is an image, is no chat.

What messages.jsonl means by <image> cannot be told from an <image> that somebody wrote, and its readers refuse a line
that has more of them than images: an example whose texts have <image>, <video> or <audio> in them is in metadata.jsonl
alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from manifests.export.format import Carries, Made, Part, Place
from manifests.export.image_files import PILLOW_ENCODINGS, paths_of, write_images
from manifests.export.sample import Sample

_TAGS = ("<image>", "<video>", "<audio>")

_LLAMA_FACTORY = {
    "xprompt": {
        "file_name": "messages.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    }
}


class Chat:
    """Chats about images: see the module's text."""

    name = "chat"
    summary = "Chats about images, for TRL, ms-swift and LLaMA-Factory: describe examples."
    reader = (
        "huggingface/trl@f2cd57710ae345ea6428ae95363267fcf38a3dc8:trl/data_utils.py; "
        "modelscope/ms-swift@3602360a562313afbf2ef6065fdf61f271a2c5b9:swift/template/template_inputs.py; "
        "hiyouga/LLaMA-Factory@ff6d4d12eeb035d6ce06805a5733dd7b29f2ac30:src/llamafactory/data/converter.py"
    )
    carries = Carries(kinds=frozenset(["describe"]), most_inputs=None, contexts=True, encodings=PILLOW_ENCODINGS)

    def write(self, samples: Iterator[Sample], part: Part) -> None:
        """Write the images of a part, and a line of each kind for each example."""
        for sample in samples:
            turns = _turns(sample)
            images = [path for turn in turns for path in write_images(turn, part).inputs]
            parts = [message for turn in turns for message in _in_parts(turn)]
            part.line("metadata", {"id": sample.name, "messages": parts, "images_file_names": images})
            if any(tag in text for turn in turns for text in _texts(turn) for tag in _TAGS):
                part.leave_off("chats with <image>, <video> or <audio> in a text, in messages.jsonl")
            else:
                texts = [message for turn in turns for message in _in_texts(turn)]
                part.line("messages", {"id": sample.name, "messages": texts, "images": images})

    def finish(self, made: Made) -> None:
        """Write both files, and LLaMA-Factory's; no messages.jsonl if it would be empty."""
        made.write_lines("metadata.jsonl", "metadata")
        if next(made.lines("messages"), None) is None:
            return
        made.write_lines("messages.jsonl", "messages")
        made.text("dataset_info.json", json.dumps(_LLAMA_FACTORY, indent=2) + "\n")

    def places(self, sample: Sample) -> Iterable[Place]:
        """The turns of an example."""
        turns = _turns(sample)
        image = 0
        for number, turn in enumerate(turns):
            context = f"in-context example {len(turns) - 1 - number}, " if turn is not sample else ""
            user, assistant = f"`messages[{2 * number}]`", f"`messages[{2 * number + 1}]`"
            for column, (picture, path) in enumerate(zip(turn.inputs, paths_of(turn).inputs, strict=True), start=1):
                yield Place(
                    ours=f"{context}input {column} ({picture.role})",
                    theirs=f"`images[{image}]`: `{path}`",
                    meaning=f"image {column} of {user}, by the user",
                    shows=picture,
                )
                image += 1
            question, answer = _texts(turn)
            yield Place(ours=f"{context}instruction", theirs=user, meaning="what the user asks", shows=question)
            yield Place(ours=f"{context}text", theirs=assistant, meaning="the answer, which is learnt", shows=answer)

    def how_to(self) -> str:
        """How the three trainers are pointed at the export."""
        return (
            '- **TRL**: `load_dataset("FOLDER", split="train")` gives the columns `messages` and `images`, the images '
            "as pictures, for `SFTTrainer`; `trl sft --dataset_name FOLDER ...` does the same.\n"
            "- **ms-swift**: `ROOT_IMAGE_DIR=FOLDER swift sft --dataset FOLDER/messages.jsonl ...`\n"
            "- **LLaMA-Factory**: `dataset_dir: FOLDER` and `dataset: xprompt` in its YAML.\n\n"
            "All three learn the answers of in-context examples too, unless told otherwise.\n"
        )


def _turns(sample: Sample) -> list[Sample]:
    """The in-context examples that are described too, the best last, and the sample."""
    return [*(shown for shown in reversed(sample.contexts) if shown.text is not None), sample]


def _texts(turn: Sample) -> tuple[str, str]:
    assert turn.text is not None
    return turn.instruction, turn.text


def _in_parts(turn: Sample) -> list[dict[str, Any]]:
    question, answer = _texts(turn)
    shown = [{"type": "image"} for _ in turn.inputs]
    return [
        {"role": "user", "content": [*shown, {"type": "text", "text": question}]},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]


def _in_texts(turn: Sample) -> list[dict[str, Any]]:
    question, answer = _texts(turn)
    return [
        {"role": "user", "content": "<image>" * len(turn.inputs) + question},
        {"role": "assistant", "content": answer},
    ]
