"""Whether a change of an image can be seen: its size relative to the least change that an eye notices there.

The threshold of an eye depends on how bright the place is. The model is that of Chou and Li, "A perceptually tuned
subband image coder based on the measure of just-noticeable-distortion profile" (IEEE Trans. CSVT 5, 1995), less its
part for texture, which hides a change: 20 levels of 255 over black, 3 over mid-gray, 6 over white.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

_MIDDLE = 127.0  # levels, of the background over which an eye sees most
_LEAST = 3.0
_OVER_BLACK = 17.0
_OVER_WHITE = 3.0 / 128.0


def visible_change(before: Values, after: Values, background: Values) -> float:
    """The root mean square of a change, in just noticeable differences.

    `before` and `after` are ... x 3 levels of 255, and `background` is how bright it is at each of them.
    """
    change = (before - after) / noticeable(background)[..., None]
    return float(np.sqrt(np.mean(change * change)))


def noticeable(background: Values) -> Values:
    """The least change, in levels of 255, that is noticed over a background of some levels."""
    dark = _OVER_BLACK * (1 - np.sqrt(np.minimum(background, _MIDDLE) / _MIDDLE)) + _LEAST
    bright = _OVER_WHITE * (background - _MIDDLE) + _LEAST
    return np.asarray(np.where(background <= _MIDDLE, dark, bright))
