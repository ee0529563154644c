"""The key of OPENAI_API_KEY: where it is read, to whom it may be sent, and how it is kept out of all that is stored.

A server may put the key that it was sent into anything that it answers, by mistake or to have it published with a
dataset. So every text of a server's goes through `without_key` before it is stored or shown.
"""

from __future__ import annotations

import base64
import html
import ipaddress
import os
import re
import string
from functools import lru_cache
from urllib.parse import unquote, urlsplit

NO_KEY = "none"
"""What is sent to a server where there is no key."""

_PLACEHOLDERS = frozenset({NO_KEY, "empty"})
_SHORTEST_SECRET = 8  # shorter keys are placeholders, and would be found in innocent words
_WITHHELD = "[key]"
_UNWRAPPINGS = 4  # how often a text may have been escaped, one time around the other
# A match begins where a run of backslashes does: tried from each of them, a million in an answer would take hours.
_ESCAPED = re.compile(r"(?<!\\)\\+(?:u00|x)([0-9a-fA-F]{2})")
_SLASHES = re.compile(r"(?<!\\)\\+(?=[/\"'])")
_BASE64 = f"{string.ascii_letters}{string.digits}+/_-="


def api_key() -> str:
    """The key of OPENAI_API_KEY, or NO_KEY. Raises ValueError, one line, for one that no HTTP header can hold."""
    key = os.environ.get("OPENAI_API_KEY", "").strip() or NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise ValueError("OPENAI_API_KEY holds a character that no key has: copy it anew")
    return key


def check_way(url: str, *others: str) -> None:
    """Whether a server may be sent the key. Raises ValueError, one line, which repeats neither the URL nor the key.

    Over http, which anybody on the way can read, it may be sent to this machine alone. `others` are further texts of
    the user's that are stored and must not have the key in them, such as the model's name.
    """
    key = api_key()
    if key.lower() in _PLACEHOLDERS:
        return
    if len(key) >= _SHORTEST_SECRET and any(without_key(text) != text for text in (url, *others)):
        raise ValueError("VLM or VLM_MODEL has the key of OPENAI_API_KEY in it, and would be stored with the dataset")
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
        raise ValueError(
            "VLM: a key is not sent over http to another machine, where it can be read on the way: use https or a "
            f"tunnel to localhost, or, if the server asks for no key, set OPENAI_API_KEY={NO_KEY}"
        )


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address is that of the loopback interface, which no other machine sees."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def without_key(text: str) -> str:
    """A text without the key: in its place stands "[key]".

    It is found as it is; escaped as in URLs, JSON or HTML, also more than once; and as hex or base64, alone or within
    something longer, which is then withheld whole. A text in which it stands broken up by spaces is withheld whole.
    Other ways to write it, such as backwards, are not looked for.
    """
    key = api_key()
    if len(key) < _SHORTEST_SECRET:
        return text
    text = _without(key, text)
    plain, plain_key = _unwrapped(text), _unwrapped(key)
    if (cleaned := _without(plain_key, plain)) != plain:
        text = plain = cleaned
    together = "".join(plain.split())
    return _WITHHELD if _without(plain_key, together) != together else text


def _without(key: str, text: str) -> str:
    """A text without the key as it is, as hex and as base64."""
    text = text.replace(key, _WITHHELD)
    for core in _base64_cores(key):
        if core in text:
            first, *between, last = text.split(core)
            around = [first.rstrip(_BASE64), *(part.strip(_BASE64) for part in between), last.lstrip(_BASE64)]
            text = _WITHHELD.join(around)
    hexadecimal = key.encode().hex()
    return re.sub(hexadecimal, _WITHHELD, text, flags=re.IGNORECASE) if hexadecimal in text.lower() else text


@lru_cache(maxsize=4)
def _base64_cores(key: str) -> tuple[str, ...]:
    """What is the same in the base64 of all that has the key in it: three, by what stands before, in two alphabets."""
    found = set()
    for before, mixed in enumerate((0, 2, 3)):
        data = bytes(before) + key.encode()
        end = None if len(data) % 3 == 0 else -1  # the last letter would have what stands behind in it
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(data).decode().rstrip("=")[mixed:end])
    return tuple(sorted(found))


def _unwrapped(text: str) -> str:
    """A text without the escapes of URLs, JSON and HTML that may be around its characters."""
    for _ in range(_UNWRAPPINGS):
        before = text
        if "%" in text:
            text = unquote(text)
        if "&" in text:
            text = html.unescape(text)
        if "\\" in text:
            text = _SLASHES.sub("", _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text))
        if text == before:
            break
    return text
