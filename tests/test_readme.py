"""The commands of the README and of the documents' pages that are marked as runnable, as they are typed."""

from __future__ import annotations

from pathlib import Path

from tests.commands import ROOT
from tests.pages import all_blocks, blocks_of, pages, run_in_order


def test_marked_blocks_run_from_top_to_bottom(tmp_path: Path) -> None:
    """In one folder, as somebody does who follows the pages. `make infra-test` runs the others too."""
    marked = [block for block in all_blocks() if block.mark == "runnable"]
    assert len(marked) == sum(page.read_text().count("<!-- runnable -->") for page in pages()) >= 2
    failed = run_in_order(marked, tmp_path / "repository")
    assert not failed, "\n".join(failed)


def test_the_readme_is_short_and_leads_on() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 100
    assert "infra/docs/first-dataset.md" in text


def test_a_block_is_marked_by_the_line_above_it(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "a\n<!-- runnable -->\n```bash\nmake b  # c\nmake d\n```\n"
        "```bash\nmake e\n```\n"
        "<!-- not run: needs GPU -->\n```bash\nmake f\n```\n"
        "<!-- runnable -->\n\n```console\n$ make g\nh\n```\n"
    )
    assert [(block.line, block.mark, block.commands) for block in blocks_of(page)] == [
        (3, "runnable", "make b  # c\nmake d\n"),
        (7, "", "make e\n"),
        (11, "not run: needs GPU", "make f\n"),
        (16, "runnable", "make g"),
    ]
