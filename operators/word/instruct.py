"""Generate examples: an instruction per direction, from a pool of phrasings (paper section 3.2, task reversion)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from manifests.schema import Example, Pair, Step, seed_for
from operators.base import Setting


@dataclass(frozen=True, kw_only=True)
class Instruct:
    """Adds the forward generate example, and the reverse one if there are phrasings for it.

    A task whose swap is meaningless leaves `reverse` empty.
    """

    name: ClassVar[str] = "instruct"
    version: ClassVar[int] = 1
    forward: tuple[str, ...]
    reverse: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("input",)
    """Roles of the forward example's inputs."""
    with_caption: bool | Literal["unpaired"] = False
    """Whether the forward instruction goes on with the source's caption, if it has one: a map alone leaves open what
    the image shows. "unpaired": where the source brings single images. It is for tasks that read dense datasets as
    well, whose pairs have no captions."""

    caption: str = "caption"
    """Name of the text that is the caption."""

    def fitted(self, setting: Setting) -> Self:
        """Told whether there is a caption to go on with."""
        return replace(self, with_caption=not setting.paired) if self.with_caption == "unpaired" else self

    def __call__(self, pair: Pair, seed: int) -> Pair:
        forward = Example(
            direction="forward",
            kind="generate",
            inputs=self.inputs,
            output="target",
            instruction=self._forward(pair, seed),
        )
        examples = (*pair.examples, forward)
        if self.reverse:
            reverse = Example(
                direction="reverse",
                kind="generate",
                inputs=("target",),
                output="input",
                instruction=pick(self.reverse, seed, "reverse"),
            )
            examples = (*examples, reverse)
        step = Step(operator=self.name, version=self.version, seed=seed)
        return replace(pair, examples=examples, steps=(*pair.steps, step))

    def _forward(self, pair: Pair, seed: int) -> str:
        phrase = pick(self.forward, seed, "forward")
        caption = " ".join(pair.texts.get(self.caption, "").split()) if self.with_caption else ""
        return f"{phrase} {caption}".rstrip()


def pick(pool: tuple[str, ...], seed: int, name: str) -> str:
    """One phrasing of a pool, by a seed and the name of what is picked. A 63-bit number makes the bias negligible."""
    return pool[seed_for(seed, name) % len(pool)]
