"""What a policy lets through, by the terms that it needs."""

from __future__ import annotations

import pytest

from manifests.licences.effective import parents
from manifests.licences.policy import Policy, allowable


@pytest.mark.parametrize(
    ("asked", "licence", "models", "refused"),
    [
        (["commercial"], "CC-BY-SA-4.0", [], ()),
        (["commercial"], "CC-BY-NC-4.0", [], ("CC-BY-NC-4.0",)),
        (["research"], "CC-BY-NC-4.0", [], ()),
        (["commercial"], "CC0-1.0", ["flux"], ("LicenseRef-FLUX.1-dev",)),
        (["commercial"], "CC0-1.0", ["sd15"], ()),
        (["commercial"], "CC0-1.0", ["gpt-4o"], ("LicenseRef-OpenAI-outputs",)),
        (["research"], "CC0-1.0", ["flux", "gpt-4o"], ()),
        (["research"], "none stated; research use", [], ("LicenseRef-none-stated",)),
        (["research", "LicenseRef-none-stated"], "none stated; research use", [], ()),
        (["commercial", "research"], "as the owner of the photos states", [], ("LicenseRef-owner",)),
        (["MIT"], "CC0-1.0; MIT", [], ("CC0-1.0",)),
        (["commercial", "research", "MIT"], "some licence", [], ("unknown",)),
    ],
)
def test_policy(asked: list[str], licence: str, models: list[str], refused: tuple[str, ...]) -> None:
    assert parents(licence, "mine", frozenset(models)).refused(Policy.of(asked).allowed) == refused


def test_what_a_user_may_ask_for() -> None:
    assert allowable("commercial") == "commercial"
    assert allowable("cc by 4.0") == "CC-BY-4.0"
    assert allowable("FLUX.1 [dev] non-commercial") == "LicenseRef-FLUX.1-dev"
    with pytest.raises(ValueError, match="did you mean research"):
        allowable("reserach")
    for nothing in ("unknown", "", "public domain and CC0-1.0"):
        with pytest.raises(ValueError, match="no licence with a record"):
            allowable(nothing)


def test_why_not_is_one_line_with_the_way_out() -> None:
    policy = Policy.of(["commercial"])
    said = policy.why({"LicenseRef-FLUX.1-dev": "flux", "unknown": "DATA"})
    assert "commercial: no" in said
    assert "train competing: no" in said
    assert "to allow it all the same: --allow-licence commercial LicenseRef-FLUX.1-dev" in said
    assert "\n" not in said
    assert "to allow" not in policy.why({"unknown": "DATA"})  # which nothing does
