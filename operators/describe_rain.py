"""Describe examples of synthesised rain: a text composed from the parameters it was made with (paper section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from manifests.schema import Direction, Example, Pair, Step
from operators.instruct import pick
from operators.rain import Rain

# The paper's C.1 asks for the differences of an "input image" and an "output image"; the phrasings are ours.
_QUESTIONS = (
    "Describe the differences between the input image and the output image.",
    "What changed from the input image to the output image?",
    "Compare the two images and say what was done to the first to get the second.",
    "Explain how the output image differs from the input image.",
    "Which transformation turns the input image into the output image?",
    "State what the output image adds to or removes from the input image.",
)

_FORWARD = (
    "The rain has been removed: {rain} no longer cover the scene, which is otherwise unchanged.",
    "The input image shows {rain}; in the output image they are gone and the scene behind them is clear.",
    "The output image is the same scene without rain. What disappeared are {rain}.",
    "Deraining: {rain} were taken away, and nothing else was altered.",
)

_REVERSE = (
    "Rain has been added: {rain} now cover the scene, which is otherwise unchanged.",
    "The input image is clear; the output image shows the same scene behind {rain}.",
    "The output image is the same scene in the rain. What appeared are {rain}.",
    "Rain synthesis: {rain} were laid over the image, and nothing else was altered.",
)


@dataclass(frozen=True, kw_only=True)
class DescribeRain:
    """Adds the two describe examples of a pair whose rain is synthesised. The text says only what is recorded."""

    name: ClassVar[str] = "describe_rain"
    version: ClassVar[int] = 1

    def __call__(self, pair: Pair, seed: int) -> Pair:
        rain = pair.step(Rain.name)
        assert rain, "DescribeRain follows Rain"
        streaks = describe_streaks(rain.params)
        examples = (
            _describe(
                "forward",
                ("input", "target"),
                pick(_FORWARD, seed, "forward text").format(rain=streaks),
                seed,
            ),
            _describe(
                "reverse",
                ("target", "input"),
                pick(_REVERSE, seed, "reverse text").format(rain=streaks),
                seed,
            ),
        )
        step = Step(operator=self.name, version=self.version, seed=seed)
        return replace(pair, examples=(*pair.examples, *examples), steps=(*pair.steps, step))


def describe_streaks(params: Mapping[str, Any]) -> str:
    """The streaks in words and numbers, from the parameters that `Rain` recorded."""
    density = _grade(params["density"], (0.0045, 0.0085), ("sparse", "moderately dense", "dense"))
    length = _grade(params["length_px"], (22, 36), ("short", "medium-long", "long"))
    opacity = _grade(params["opacity"], (0.68, 0.82), ("faint", "clearly visible", "strong"))
    angle_deg = round(params["angle_deg"])
    if abs(angle_deg) <= 2:
        lean = "falling almost vertically"
    else:
        side = "right" if angle_deg > 0 else "left"
        lean = f"leaning about {abs(angle_deg)}° from the vertical towards the lower {side}"
    return (
        f"{density}, {length} rain streaks of about {params['length_px']} pixels, {lean}, "
        f"{opacity} at {round(100 * params['opacity'])}% opacity"
    )


def _describe(direction: Direction, inputs: tuple[str, str], text: str, seed: int) -> Example:
    return Example(
        direction=direction,
        kind="describe",
        inputs=inputs,
        output=None,
        instruction=pick(_QUESTIONS, seed, f"{direction} question"),
        text=text,
    )


def _grade(value: float, bounds: tuple[float, float], words: tuple[str, str, str]) -> str:
    return words[sum(value >= bound for bound in bounds)]
