from __future__ import annotations

from dataclasses import dataclass

import pytest

from operators.option import Option, option, options_of, with_options


@dataclass(frozen=True, kw_only=True)
class Haze:
    strength: float = option(1.0, "how thick the haze is")
    family: str | None = option(None, "which models", name="generator", choices=("sd15", "flux"))
    fast: bool = option(False, "whether to hurry", in_fingerprint=False)
    plain: int = 3


def test_a_record_declares_its_options() -> None:
    found = dict(options_of(Haze(strength=0.5)))
    assert set(found) == {"strength", "family", "fast"}
    assert (found["strength"].flag, found["strength"].type, found["strength"].default) == ("--strength", float, 0.5)
    assert (found["family"].name, found["family"].choices) == ("generator", ("sd15", "flux"))
    assert list(options_of("no dataclass")) == []


def test_values_are_set_by_the_name_of_the_option() -> None:
    assert with_options(Haze(), {"generator": "flux", "strength": 2.0, "other": 1}) == Haze(strength=2.0, family="flux")
    assert with_options(Haze(), {}) == Haze()
    with pytest.raises(ValueError, match="--generator: sd3 is none of sd15, flux"):
        with_options(Haze(), {"generator": "sd3"})


def test_several_values_may_make_one() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Summed:
        total: int = option(0, "numbers to add", type=int, many=True, of=sum)

    declared = dict(options_of(Summed()))["total"]
    assert declared.many and [declared.parsed(text) for text in ("1", "2")] == [1, 2]
    assert with_options(Summed(), {"total": [1, 2]}) == Summed(total=3)

    def refused(given: object) -> int:
        raise ValueError(f"{given} is no total")

    with pytest.raises(ValueError, match="--total: x is no total"):
        Option(name="total", help="", of=refused).value("x")


@pytest.mark.parametrize(
    ("kind", "text", "value"), [(int, "3", 3), (float, "0.5", 0.5), (bool, "yes", True), (bool, "0", False)]
)
def test_texts_become_values(kind: type, text: str, value: object) -> None:
    assert Option(name="a_b", help="", type=kind).parsed(text) == value


@pytest.mark.parametrize(
    ("kind", "message"),
    [(int, "--a-b: x is not a whole number"), (float, "--a-b: x is not a number"), (bool, "--a-b: x is not yes or no")],
)
def test_what_is_no_value_is_one_line(kind: type, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Option(name="a_b", help="", type=kind).parsed("x")
