"""Pairs of which each may have a licence of its own are judged one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manifests.schema import Reject, Step
from operators.judge.allowed_licences import AllowedLicences
from tests.sources import lossless, pair_of, photo

ALLOWED = AllowedLicences(allowed=("CC-BY-4.0", "CC0-1.0"))


@pytest.mark.parametrize(
    ("licence", "refused"),
    [
        ("cc-by-4.0", ""),
        ("CC0-1.0; CC-BY-4.0", ""),
        ("CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("CC0-1.0; CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("ask me", "unknown"),
        ("", "unknown"),
    ],
)
def test_by_the_licence_of_the_pair(licence: str, refused: str) -> None:
    pair = replace(pair_of(lossless("target", photo(0))), licence=licence)
    if not refused:
        assert replace(ALLOWED(pair, 0), steps=pair.steps) == pair
        return
    with pytest.raises(Reject) as caught:
        ALLOWED(pair, 0)
    assert caught.value.reason == "licence"
    assert caught.value.message == f"{licence or 'no licence'}: {refused} is not allowed"


def test_by_the_models_that_had_a_hand_in_it() -> None:
    pair = replace(pair_of(lossless("target", photo(0))), licence="CC0-1.0")
    judged, made = (
        replace(pair, steps=(Step(operator=name, version=1, model="flux"),)) for name in ("scores", "edited")
    )
    assert ALLOWED(judged, 0).licence == "CC0-1.0"
    with pytest.raises(Reject, match=r"LicenseRef-FLUX\.1-dev is not allowed"):
        ALLOWED(made, 0)
