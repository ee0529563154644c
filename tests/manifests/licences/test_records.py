"""The table of licences is whole, and says what the licences say, by hand."""

from __future__ import annotations

import re

import pytest

from manifests.licences.effective import named, of_model
from manifests.licences.records import LICENCES, MODELS, SOURCES, SPELLINGS, TERMS, UNKNOWN, spelled


def test_every_term_says_where_it_was_read() -> None:
    for licence in LICENCES.values():
        assert re.fullmatch(r"[A-Za-z0-9.+-]+", licence.name), "an SPDX id, or LicenseRef- and letters that SPDX allows"
        for term in TERMS:
            assert licence.term(term).source
            assert licence.term(term).value in (True, False, None)
    assert {*MODELS.values(), *(name for names in SOURCES.values() for name in names)} <= {*LICENCES}


def test_no_spelling_is_of_two_licences() -> None:
    every = [(spelled(text), one.name) for one in LICENCES.values() for text in {spelled(one.name), *one.also}]
    of: dict[str, set[str]] = {}
    for text, name in every:
        of.setdefault(text, set()).add(name)
    assert [text for text, names in of.items() if len(names) > 1] == []
    assert {*of} <= {*SPELLINGS}


@pytest.mark.parametrize(
    ("name", "terms"),  # in the order of TERMS: read in the licences' texts by hand
    [
        # 2(d): outputs may be used but not to train a competitor; 4(a): no data produced by it for commercial purposes
        ("LicenseRef-FLUX.1-dev", (False, True, True, False, False, False)),
        # 1: a model trained on outputs to perform alike is a derivative; 6: no rights claimed in the output
        ("LicenseRef-CreativeML-OpenRAIL-M", (True, True, True, True, False, True)),
        # A model created from the output is a derivative work, and all is for non-commercial uses
        ("LicenseRef-Stability-AI-NC-Research", (False, True, True, True, False, True)),
        # What you cannot do: use output to develop models that compete with OpenAI
        ("LicenseRef-OpenAI-outputs", (True, True, True, False, False, False)),
        ("CC-BY-4.0", (True, True, True, True, True, False)),
        ("CC-BY-NC-SA-4.0", (False, True, True, True, True, True)),
        ("CC-BY-ND-4.0", (True, True, None, None, True, False)),
        ("CC0-1.0", (True, True, True, True, False, False)),
        ("LicenseRef-none-stated", (None,) * 6),
    ],
)
def test_terms(name: str, terms: tuple[bool | None, ...]) -> None:
    assert tuple(LICENCES[name].term(term).value for term in TERMS) == terms


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("cc-by-4.0", ("CC-BY-4.0",)),
        (" CC BY 4.0\n", ("CC-BY-4.0",)),
        ("cc_by_nc_4.0", ("CC-BY-NC-4.0",)),
        ("mit", ("MIT",)),
        ("CC0-1.0; CC-BY-2.0", ("CC0-1.0", "CC-BY-2.0")),
        ("CC0-1.0; CC0-1.0", ("CC0-1.0",)),
        ("CC-BY-NC-ND-4.0 AND CC-BY-2.0", ("CC-BY-NC-ND-4.0", "CC-BY-2.0")),
        ("none stated; research use", ("LicenseRef-none-stated",)),
        ("CC0-1.0; none stated; research use", ("CC0-1.0", "LicenseRef-none-stated")),
        ("public domain; CC0-1.0", ("LicenseRef-public-domain", "CC0-1.0")),
        ("public domain and CC0-1.0", ("LicenseRef-public-domain", "CC0-1.0")),
        ("images for non-commercial research and education; annotations BSD-3-Clause", ("LicenseRef-ADE20K",)),
        ("CC0-1.0; by a friend", ("CC0-1.0", UNKNOWN)),
        ("CC0-1.0 OR MIT", (UNKNOWN,)),
        ("CC0-1.0; ", (UNKNOWN,)),
        ("other", (UNKNOWN,)),
        ("unknown", (UNKNOWN,)),
        ("", (UNKNOWN,)),
    ],
)
def test_what_sources_hubs_and_users_write(said: str, names: tuple[str, ...]) -> None:
    assert named(said) == names


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("black-forest-labs/FLUX.1-dev", "LicenseRef-FLUX.1-dev"),
        ("flux", "LicenseRef-FLUX.1-dev"),
        ("gpt-4o", "LicenseRef-OpenAI-outputs"),
        ("gpt-4o-2024-08-06", "LicenseRef-OpenAI-outputs"),
        ("o1-mini", "LicenseRef-OpenAI-outputs"),
        ("gpt-oss-120b", UNKNOWN),  # whose weights are open, under another licence
        ("o1-like-model", "LicenseRef-OpenAI-outputs"),
        ("o12", UNKNOWN),
        ("Qwen/Qwen2-VL-7B-Instruct", "Apache-2.0"),
        ("Qwen/Qwen2-VL-72B-Instruct", UNKNOWN),  # under another licence than the small ones
        ("me/flux", UNKNOWN),
    ],
)
def test_models(model: str, name: str) -> None:
    assert of_model(model) == name
