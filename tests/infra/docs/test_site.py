"""The documents' site: all pages are in it, no link leads nowhere, and what it says of the code is so."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from infra.docs.reference import PUBLIC
from infra.docs.reference import pages as written
from tests.commands import ROOT
from tests.pages import DOCS, pages, site
from tests.repository import tracked_files

OURS = ("manifests", "operators", "pipelines", "xprompt_model", "train", "infra")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_PATH = re.compile(rf"`((?:{'|'.join(OURS)}|tests)/[\w./-]+)`")


def _prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site and GitHub make them of plain words."""
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _broken(page: Path) -> Iterator[str]:
    for link in _LINK.findall(_prose(page)):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


@pytest.mark.parametrize("page", [*pages(), ROOT / "CONTRIBUTING.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To pages, pictures and headings, from the site and on GitHub, where the README's are read."""
    assert [*_broken(page)] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    made = {"infra/docs/site", "train/metadata.jsonl"}  # by `make docs`, and in an export
    assert {name for name in _PATH.findall(_prose(page)) if not (ROOT / name).exists()} - made == set()


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# Two words\n[a](#two-words) [b](#three) [c](other.md) ![d](d.png) [e](https://e)\n```\n[f](g)\n```\n"
    )
    assert [*_broken(page)] == ["#three", "other.md", "d.png"]


def test_all_pages_are_in_the_navigation() -> None:
    there = {ROOT / name for name in tracked_files() if name.startswith("infra/docs/") and name.endswith(".md")}
    assert there == set(pages()[1:])


def test_pages_of_the_site_link_to_nothing_outside_of_it() -> None:
    """GitHub would show it, and the site would not."""
    outside = [
        (page.name, link)
        for page in pages()[1:]
        for link in _LINK.findall(_prose(page))
        if not re.match(r"https?:|#", link) and not (page.parent / link).resolve().is_relative_to(DOCS)
    ]
    assert outside == []


def test_the_site_builds_without_a_warning_or_a_network(tmp_path: Path) -> None:
    """And loads nothing from elsewhere when it is read."""
    for name in tracked_files():
        if name.startswith("infra/docs/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "zensical", "build", "--strict", "-f", str(tmp_path / "infra/docs/zensical.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    built = tmp_path / "infra/docs" / site()["site_dir"]
    html = (built / "index.html").read_text()
    assert "X-Prompt data engine" in html and len([*built.rglob("index.html")]) >= len(pages()) - 1
    assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=\"https?://", html)
    assert not [*built.rglob("*.py")]


@pytest.mark.parametrize(("path", "text"), [*written()], ids=lambda one: one.name if isinstance(one, Path) else "")
def test_what_follows_from_the_code_is_as_it_is_written_now(path: Path, text: str) -> None:
    assert path.read_text() == text, "python -m infra.docs.reference writes it anew"


def test_all_that_the_packages_offer_is_listed() -> None:
    import manifests
    import pipelines

    listed = {name for _, _, names in PUBLIC for name in names}
    assert {*manifests.__all__, *pipelines.__all__} <= listed


def _template(node: ast.AST) -> str | None:
    """A text of a program, with `…` in the place of what it is filled with; None for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(value) or "…" for value in node.values)
    return None


@cache
def _nodes() -> list[ast.AST]:
    """All parts of our programs."""
    files = (file for folder in OURS for file in (ROOT / folder).rglob("*.py") if DOCS not in file.parents)
    return [node for file in files for node in ast.walk(ast.parse(file.read_text()))]


def _texts() -> str:
    """All texts of our programs, one a line."""
    return "\n".join(" ".join(text.split()) for node in _nodes() if (text := _template(node)))


def _quoted(section: str) -> list[str]:
    """What stands in backticks in the first column of the tables of a section of errors.md."""
    text = (DOCS / "errors.md").read_text()
    (part,) = re.findall(rf"^## {section}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| (`.*?`) \|", part, re.MULTILINE)
    return [quoted for cell in cells for quoted in re.findall(r"`([^`]+)`", cell)]


def test_messages_that_the_page_quotes_are_in_the_code() -> None:
    texts = _texts()
    assert len(quoted := _quoted("Messages, by cause")) > 60
    assert [one for one in quoted if one not in texts] == []
    assert "there is no task … at all" not in texts


def test_all_reasons_of_rejects_that_the_code_spells_out_are_on_the_page() -> None:
    rejects = (node for node in _nodes() if isinstance(node, ast.Call) and ast.unparse(node.func) == "Reject")
    firsts = (node.args[0] for node in rejects if node.args)
    spelled = {first.value for first in firsts if isinstance(first, ast.Constant)}
    assert len(spelled) > 40
    assert spelled - {*_quoted("Reasons of rejects")} == set()
