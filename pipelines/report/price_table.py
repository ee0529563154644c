"""What machines and buckets cost: a small file of prices, each with its source and date, in the place of which a user
can give another of the same shape (--price-table)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from manifests.text_files import read_toml

OURS = str(Path(__file__).parents[1] / "prices.toml")
"""The file that is read if no other is given."""

_KEYS = ("price", "source", "date")


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one of something costs, who says so, and when."""

    price: float
    source: str
    date: date


@dataclass(frozen=True, kw_only=True)
class PriceTable:
    """The prices that a plan reckons with."""

    file: str
    currency: str
    gpu_hour: Price
    """An hour of an A100 of 80 GB, with the CPUs beside it."""
    cpu_hour: Price
    """An hour of a core."""
    gb_month: Price
    """10^9 bytes in a bucket, for a month."""
    thousand_writes: Price
    """1,000 requests PUT, POST or LIST."""
    thousand_reads: Price
    """1,000 requests GET or HEAD."""

    @property
    def dates(self) -> str:
        """From when the prices are, in words."""
        found = sorted(getattr(self, name).date for name in _PRICES)
        return f"{found[0]}" if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


_PRICES = ("gpu_hour", "cpu_hour", "gb_month", "thousand_writes", "thousand_reads")


def read_prices(path: str) -> PriceTable:
    """The prices of a file. Raises ValueError, one line that names it and what is wrong, for any other file."""
    table = read_toml(path)
    if wrong := sorted(table.keys() ^ {"currency", *_PRICES}):
        lacks = [name for name in wrong if name not in table]
        what = f"it lacks {', '.join(lacks)}" if lacks else f"it has {', '.join(wrong)}, which is no price of ours"
        raise ValueError(f"{path} is no price table: {what}. Copy {OURS} to begin")
    if not isinstance(table["currency"], str) or not table["currency"].strip():
        raise ValueError(f"{path} is no price table: currency is a name, such as USD")
    return PriceTable(
        file=path, currency=table["currency"], **{name: _price(path, name, table[name]) for name in _PRICES}
    )


def _price(path: str, name: str, given: Any) -> Price:
    if not isinstance(given, Mapping) or given.keys() != set(_KEYS):
        raise ValueError(f"{path} is no price table: {name} has {', '.join(_KEYS)}, and nothing else")
    price, source, day = (given[key] for key in _KEYS)
    if type(price) not in (int, float) or not 0 <= price < float("inf"):
        raise ValueError(f"{path} is no price table: the price of {name} is {price!r}, not a number from 0 on")
    if not isinstance(source, str) or not source.strip():
        raise ValueError(f"{path} is no price table: source of {name} says where the price was read")
    if type(day) is not date:
        raise ValueError(f"{path} is no price table: date of {name} is {day!r}, not a day such as 2026-11-30")
    return Price(price=float(price), source=source, date=day)
