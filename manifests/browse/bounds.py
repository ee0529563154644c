"""What bounds the scores of a dataset's pairs, by its plan, and how a user would write another bound.

A gate's bound is a parameter that is called after the score, `min_<score>` or `max_<score>`, or an entry of its
`bounds`. Which of these parameters are options of the command line, `OPTIONS` says: nothing of a dataset does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

OPTIONS = frozenset({("degraded", "min_alignment"), ("judge_own_pairs", "min_alignment")})
"""Operator and parameter of the bounds that users may set. A test holds it against what operators declare."""

_CALLED = {"visible_change": "visible", "frame_ssim": "ssim", "pose_keypoints": "keypoints"}
"""Scores whose bounds are called otherwise."""

_SIDES = {"min": "low", "max": "high"}


def bounds_of(config: Mapping[str, Any], score: str) -> list[dict[str, Any]]:
    """The bounds of a score in a plan's configuration, each with `operator`, `side` ("low" or "high"), `value`,
    `parameter` ("" for an entry of `bounds`) and `option`, as it is typed: None where there is none."""
    operators = config.get("operators")
    found = []
    for operator in operators if isinstance(operators, list) else ():
        if isinstance(operator, dict) and isinstance(name := operator.get("name"), str):
            for side, parameter, value in _bounds(operator, score):
                option = f"--{parameter.replace('_', '-')}" if (name, parameter) in OPTIONS else None
                found.append({"operator": name, "side": side, "value": value, "parameter": parameter, "option": option})
    return found


def _bounds(record: Mapping[str, Any], score: str) -> Iterator[tuple[str, str, float]]:
    """Side, parameter and value of each bound that an operator, or a record in it, has for a score."""
    for parameter, value in record.items():
        word, _, called = parameter.partition("_")
        if word in _SIDES and called in (score, _CALLED.get(score)) and _is_number(value):
            yield _SIDES[word], parameter, value
        elif parameter == "bounds" and isinstance(value, list):
            for bound in value:
                if isinstance(bound, dict) and bound.get("score") == score:
                    yield from ((side, "", bound[side]) for side in ("low", "high") if _is_number(bound.get(side)))
        elif isinstance(value, dict):
            yield from _bounds(value, score)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
