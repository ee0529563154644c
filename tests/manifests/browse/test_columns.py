"""The schema beside the SQL is that of the views."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

from manifests.browse.columns import VIEWS, schema
from manifests.read.query import connect, run_sql
from manifests.schema import MANIFEST, REJECTS
from tests.manifests.make import make_dataset


def test_each_column_has_a_type_and_a_meaning(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=1)
    connection = connect(str(tmp_path))
    found = {one["view"]: one["columns"] for one in schema(connection)}
    assert found.keys() == VIEWS.keys()
    for view, columns in found.items():
        names = [column["name"] for column in columns]
        assert names == run_sql(connection, f"SELECT * FROM {view}").columns
        assert set(names) == VIEWS[view][1].keys()
        assert all(column["type"] and column["meaning"] for column in columns)
    assert {column["name"] for column in found["examples"]} == set(MANIFEST.names)
    assert {column["name"] for column in found["rejects"]} == set(REJECTS.names)
    assert found["examples"][0]["type"] == "VARCHAR"


@pytest.fixture
def sql(opened: Page) -> Page:
    opened.get_by_role("tab", name="SQL").click()
    expect(opened.locator("#schema details")).to_have_count(len(VIEWS))
    return opened


def test_a_click_inserts_a_column(sql: Page) -> None:
    box = sql.get_by_role("textbox", name="SQL")
    box.fill("SELECT  FROM examples")
    box.evaluate("box => box.setSelectionRange(7, 7)")
    sql.locator("#schema").get_by_role("button", name="source_ref", exact=True).first.click()
    expect(box).to_have_value("SELECT source_ref FROM examples")
    expect(box).to_be_focused()


def test_the_address_holds_the_query_and_its_rows_lead_to_their_pairs(sql: Page) -> None:
    box, rows = sql.get_by_role("textbox", name="SQL"), sql.locator("#result tbody tr")
    box.fill("SELECT pair, task, '#&=%é' AS x\nFROM pairs WHERE task = 'derain' LIMIT 3")
    box.press("Control+Enter")
    expect(rows).to_have_count(3)
    key = sql.locator("#result a").first.inner_text()
    assert len(key) == 32
    expect(sql.locator("#result a").first).to_have_attribute("href", re.compile(f"[#&]pair={key}$"))
    sql.locator("#result a").first.click()
    expect(sql.locator("#pair")).to_contain_text(key)
    sql.keyboard.press("Escape")
    expect(rows).to_have_count(3)
    box.fill("SELECT 1 AS one")
    sql.get_by_role("button", name="Run").click()
    expect(rows).to_have_count(1)
    sql.go_back()
    expect(rows).to_have_count(3)
    sql.reload()
    expect(rows).to_have_count(3)
    expect(box).to_have_value("SELECT pair, task, '#&=%é' AS x\nFROM pairs WHERE task = 'derain' LIMIT 3")


def test_an_error_is_marked_where_it_is(sql: Page) -> None:
    box, place = sql.get_by_role("textbox", name="SQL"), sql.locator("#place")
    box.fill("SELECT pair,\n  '😀', lisence\nFROM pairs")
    sql.get_by_role("button", name="Run").click()
    expect(sql.locator("#sql .error")).to_contain_text('Candidate bindings: "licence"')
    expect(place).to_contain_text("line 2, column 8")
    expect(place.locator("mark")).to_have_text("lisence")
    selected = box.evaluate("box => box.value.slice(box.selectionStart, box.selectionEnd)")
    assert selected == "lisence"
    box.fill("SELECT 1")
    sql.get_by_role("button", name="Run").click()
    expect(sql.locator("#result tbody tr")).to_have_count(1)
    expect(place).to_be_hidden()
    expect(sql.locator("#sql .error")).to_be_hidden()


def test_rows_are_saved_as_files(sql: Page, tmp_path: Path) -> None:
    box = sql.get_by_role("textbox", name="SQL")
    box.fill("SELECT range AS n, '=1' AS text FROM range(5000)")  # more than are shown
    for name, form in (("Save as CSV", "csv"), ("Save as Parquet", "parquet")):
        with sql.expect_download() as download:
            sql.get_by_role("button", name=name).click()
        assert download.value.suggested_filename == f"rows.{form}"
        download.value.save_as(tmp_path / f"rows.{form}")
    assert (tmp_path / "rows.csv").read_text().splitlines()[:2] == ["n,text", "0,'=1"]
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist()[-1] == {"n": 4999, "text": "=1"}
    box.fill("SELECT nosuch FROM pairs")
    sql.get_by_role("button", name="Save as CSV").click()
    expect(sql.locator("#place mark")).to_have_text("nosuch")
