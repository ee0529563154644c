"""Which steps are skipped: those whose gradient is not finite, or whose loss is far above that of the steps before.

"Far" is measured against the median of the last steps' losses, in units of their median absolute deviation, scaled to
a normal distribution's standard deviation. Neither moves much by a few bad steps, as a mean and its deviation do. A
skipped step changes neither weights nor moments; its loss does not enter the window. After so many in a row, or in all,
a run has diverged, and ends.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

_NORMAL = 1.4826
"""Standard deviations of a normal distribution in one median absolute deviation."""

_LEAST_SPREAD = 0.01
"""A window's spread is at least this share of its median, so that losses that hardly differ make no spike."""


@dataclass(frozen=True, kw_only=True)
class SpikeRule:
    """What counts as a bad step, and how many of them a run may have."""

    deviations: float
    """A loss so many robust standard deviations above the median is a spike; 0: none is."""
    window: int
    """The steps whose losses are compared with; half of them must have been made."""
    most_in_row: int
    most: int


class Diverged(ValueError):
    """More steps were skipped than may be. One line."""


class Skips:
    """The steps skipped so far, and the losses that the next is compared with. The same on all ranks."""

    def __init__(self, rule: SpikeRule, state: Mapping[str, Any]) -> None:
        """`state` is what `state` gave when a checkpoint was written; empty at the beginning of a run."""
        self._rule = rule
        self._losses = deque[float](state.get("losses", ()), maxlen=rule.window)
        self.in_row: int = state.get("in_row", 0)
        self.count: int = state.get("count", 0)

    @property
    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {"losses": list(self._losses), "in_row": self.in_row, "count": self.count}

    def wrong(self, loss: float, norm: float) -> str:
        """What is wrong with a step of this loss and norm of the gradient; "" if nothing is."""
        if not math.isfinite(norm):
            return f"the gradient's norm is {norm}"
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        rule = self._rule
        if rule.deviations and len(self._losses) >= max(2, rule.window // 2):
            middle, spread = _middle_and_spread(self._losses)
            if loss > middle + rule.deviations * spread:
                far = (loss - middle) / spread
                return f"the loss {loss:.4g} is {far:.1f} deviations above the last steps' median {middle:.4g}"
        return ""

    def taken(self, loss: float) -> None:
        """Note a good step."""
        self.in_row = 0
        self._losses.append(loss)

    def skipped(self, step: int, why: str) -> None:
        """Note a bad step. Raises Diverged if there have been too many."""
        self.in_row += 1
        self.count += 1
        for count, most, what, option in (
            (self.in_row, self._rule.most_in_row, "in a row", "--max-skipped-in-row"),
            (self.count, self._rule.most, "in all", "--max-skipped"),
        ):
            if count >= most:
                raise Diverged(
                    f"step {step}: {why}; {count} steps {what} were skipped, which ends the run: the newest checkpoint "
                    f"is from before; go on from it with a lower --lr or other data, or raise {option}"
                )

    def refuse_nothing_learned(self, steps: int) -> None:
        """Raises Diverged if all steps of a run were skipped: its model is the one that it began with."""
        if self.count >= steps:
            raise Diverged(f"all {steps} steps of the run were skipped and nothing was learned: no model is written")


def _middle_and_spread(losses: Sequence[float] | deque[float]) -> tuple[float, float]:
    middle = median(losses)
    deviation = median(abs(loss - middle) for loss in losses)
    return middle, max(_NORMAL * deviation, _LEAST_SPREAD * abs(middle), 1e-12)
