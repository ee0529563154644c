"""Parameters of the page's requests as SQL, numbers and pages."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any


class BadRequest(ValueError):
    """A parameter of a request that cannot be used."""


def equal(query: Mapping[str, str], columns: tuple[str, ...]) -> tuple[list[str], list[Any]]:
    """Conditions, and their values, for the columns that the query names."""
    named = [column for column in columns if query.get(column)]
    return [f"{column} = ?" for column in named], [query[column] for column in named]


def number(query: Mapping[str, str], name: str, default: float) -> float:
    """A number of the query. Raises BadRequest for what is none."""
    try:
        value = float(query.get(name) or default)
    except ValueError:
        raise BadRequest(f"{name} is not a number: {query[name]}") from None
    if math.isnan(value):
        raise BadRequest(f"{name} is not a number: {query[name]}")
    return value


def page_number(query: Mapping[str, str]) -> int:
    """The page's number, from 0."""
    text = query.get("page", "0")
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadRequest(f"page is not a number: {text}")
    return int(text)
