"""Fixtures of the tests of the browse page: a dataset, its server, and the page in a real browser.

A file with a dataset of its own overrides `out`, or `port`; the others follow.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from playwright.sync_api import Page, expect, sync_playwright

from manifests.dataset import Dataset
from manifests.images.pixels import stored
from manifests.schema import Item
from manifests.write.writer import UnitWriter
from tests.manifests.make import make_dataset, make_pair, make_plan
from tests.manifests.web import CHROMIUM, CHROMIUM_ARGUMENTS, HOSTILE, serving


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain task of two shards, and one with images that no browser shows and a hostile instruction."""
    out = tmp_path_factory.mktemp("out")
    make_dataset(f"{out}/derain", units=2, pairs=15)
    dataset = Dataset(f"{out}/strange")
    plan = make_plan(dataset, task="strange", units=1, pairs=1)
    with UnitWriter.open(
        dataset, plan, 0, prototype_task="low-level", suffixes={"input": "tif", "target": "jpg"}
    ) as writer:
        pair = make_pair("strange", Item(ref="0", files=("0",), index=0))
        images = (stored("input", _tiff_16_bit()), stored("target", _jpeg_cmyk()))
        examples = tuple(replace(example, instruction=HOSTILE) for example in pair.examples)
        step = replace(pair.steps[0], seed=2**62 + 1, model="black-forest/flux", model_revision="abc", prompt="edit@1")
        writer.add(replace(pair, images=images, examples=examples, steps=(step,), parents=("parent-1",)))
    writer.commit({}, 0, {})
    return out


def _tiff_16_bit() -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(np.full((48, 64), 0x80FF, np.uint16)).save(buffer, "TIFF")
    return buffer.getvalue()


def _jpeg_cmyk() -> bytes:
    buffer = io.BytesIO()
    PILImage.new("CMYK", (64, 48), (0, 255, 255, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def port(out: Path) -> Iterator[int]:
    with serving(str(out)) as port:
        yield port


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """An empty page of a browser."""
    if CHROMIUM is None:
        pytest.skip("no `chromium` on PATH to open the page with")
    expect.set_options(timeout=30_000)  # the machine may be busy with other tests
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser.new_page(viewport={"width": 1280, "height": 900})
        browser.close()


@pytest.fixture
def opened(page: Page, port: int) -> Iterator[Page]:
    """The browse page anew; the test fails if it logs an error."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto("about:blank")
    page.goto(f"http://127.0.0.1:{port}/")
    expect(page.locator(".card").first).to_be_visible()
    yield page
    assert problems == []
