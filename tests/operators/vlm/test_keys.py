"""The key: to whom it is sent, and in which spellings it is found."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from operators.vlm.keys import api_key, check_way, without_key
from tests.vlm import KEY

_SLASHED = "sk/with+signs\"and&such<'>=%2F"

SPELLINGS = {
    "as it is": KEY,
    "JSON": "".join(f"\\u{ord(letter):04X}" for letter in KEY),
    "JSON in JSON": json.dumps("".join(f"\\u{ord(letter):04x}" for letter in KEY))[1:-1],
    "URL": "".join(f"%{ord(letter):02x}" for letter in KEY),
    "URL, twice": quote("".join(f"%{ord(letter):02X}" for letter in KEY)),
    "HTML": "".join(f"&#{ord(letter)};" for letter in KEY),
    "HTML, hex": "".join(f"&#x{ord(letter):x};" for letter in KEY),
    "half of it escaped": KEY[:9] + "".join(f"%{ord(letter):02x}" for letter in KEY[9:]),
    "hex": KEY.encode().hex(),
    "HEX": KEY.encode().hex().upper(),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64, in a header": base64.b64encode(f"Bearer {KEY}\n".encode()).decode(),
    "base64, with one before": base64.b64encode(f"x{KEY}".encode()).decode(),
    "base64, with two before": base64.b64encode(f"xy{KEY}zz".encode()).decode(),
    "base64, of URLs": base64.urlsafe_b64encode(f"??>{KEY}".encode()).decode(),
    "base64 in a URL": quote(base64.b64encode(KEY.encode()).decode() + "=", safe=""),
}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_the_key_is_found_in_what_stands_around_it(spelled: str) -> None:
    said = without_key(f"it is {SPELLINGS[spelled]} and {SPELLINGS[spelled]}, 100% & more")
    assert said.count("[key]") == 2 and said.startswith("it is ") and said.endswith(", 100% & more")
    assert KEY not in said and SPELLINGS[spelled] not in said


@pytest.mark.parametrize("broken", [" ".join(KEY), "\n".join([KEY[:8], KEY[8:]]), base64.encodebytes(KEY.encode() * 3)])
def test_a_text_in_which_it_is_broken_up_is_withheld(broken: str | bytes) -> None:
    assert set(without_key(broken if isinstance(broken, str) else broken.decode()).split()) == {"[key]"}


def test_a_key_of_signs_is_found_as_libraries_escape_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", _SLASHED)
    for escaped in (json.dumps(_SLASHED), quote(_SLASHED, safe=""), json.dumps(_SLASHED).replace("/", "\\/")):
        assert without_key(f"a {escaped} b") in ("a [key] b", 'a "[key]" b')


@pytest.mark.parametrize("text", ["", "100% of \\u0041 &amp; %41", "sk-secret", "a\\b\n\tc", "QUJD" * 50, "\ud800"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert without_key(text) == text


def test_a_placeholder_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    assert without_key("it is EMPTY") == "it is EMPTY"
    check_way("http://elsewhere:8000/v1")


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1/v1", "http://LocalHost./v1", "http://127.0.0.1/v1", "http://127.9.9.9/", "http://[::1]:8/v1"],
)
def test_this_machine_may_have_it_over_http_and_others_over_https(url: str) -> None:
    check_way(url, "a-model")
    check_way("https://elsewhere/v1", "a-model")


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere/v1",
        "HTTP://10.0.0.1:8000/v1",
        "http://localhost.elsewhere.org/v1",
        "http://0.0.0.0:8000/v1",
        "http://[2001:db8::1]/v1",
    ],
)
def test_others_do_not_get_it_over_http(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"a key is not sent over http to another machine.* use https") as caught:
        check_way(url)
    assert "\n" not in str(caught.value) and KEY not in str(caught.value)
    for none in ("", "none", "EMPTY", " "):
        monkeypatch.setenv("OPENAI_API_KEY", none)
        check_way(url)
    monkeypatch.delenv("OPENAI_API_KEY")
    check_way(url)


def test_it_is_not_to_be_in_what_is_stored() -> None:
    for url, model in ((f"https://host/{KEY}/v1", "m"), ("https://host/v1", KEY)):
        with pytest.raises(ValueError, match="has the key of OPENAI_API_KEY in it") as caught:
            check_way(url, model)
        assert KEY not in str(caught.value)


def test_what_was_copied_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\r\n")
    assert api_key() == KEY
    for wrong in ("sk-ключ-of-this", "sk-two\nlines-of-it"):
        monkeypatch.setenv("OPENAI_API_KEY", wrong)
        with pytest.raises(ValueError, match="holds a character that no key has") as caught:
            api_key()
        assert wrong not in str(caught.value)


@pytest.mark.parametrize("run", ["\\" * 500_000, ("\\" * 250_000 + " ") * 2])
def test_a_text_of_backslashes_alone_takes_no_longer_than_another(run: str) -> None:
    """Tried from each of them, a match takes their number squared: hours, in which no other answer is read."""
    assert without_key(run) == run
    assert without_key(run + "".join(f"\\u{ord(letter):04x}" for letter in KEY)).endswith("[key]")
