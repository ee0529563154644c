"""Imports what only the `models` extra installs, when it is first needed: the core works without it."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class MissingExtra(ImportError):
    """A package that only the `models` extra installs is not there. The message says how to install it."""


def need(module: str) -> Any:
    """Import a module of the `models` extra. Raises MissingExtra if its package is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise
        raise MissingExtra(
            f"this needs the package {error.name}: install the extra, pip install 'xprompt-data-engine[models]'"
        ) from None
