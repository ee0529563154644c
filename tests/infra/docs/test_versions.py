"""versions.md tells every version that the code has."""

from __future__ import annotations

import ast
import re

import pyarrow as pa

import manifests.choose.derive
import manifests.choose.derived_unit
import manifests.export.preference_run
import manifests.export.run
import train.data.arrays
import train.data.stream
import train.predict.run
import xprompt_model.library
from manifests.schema import MANIFEST, REJECTS, SCHEMA_VERSION
from manifests.versions import READ
from tests.commands import ROOT
from tests.pages import DOCS

PAGE = (DOCS / "versions.md").read_text()

FORMATS = {
    "exports (": manifests.export.run.VERSION,
    "exports of preferences": manifests.export.preference_run.VERSION,
    "derived datasets (": manifests.choose.derive.VERSION,
    "the order of training data": train.data.stream.ORDER,
    "the trainer's arrays": train.data.arrays._FORMAT,
    "predictions (": train.predict.run._VERSION,
    "compressed examples (": xprompt_model.library._VERSION,
}
"""How the row of a part begins, and its version."""


def _classes() -> dict[str, int]:
    """The classes of operators/ that have a version of their own."""
    found: dict[str, int] = {}
    for file in (ROOT / "operators").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            for part in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(part, ast.AnnAssign) and ast.unparse(part.target) == "version" and part.value:
                    assert isinstance(node, ast.ClassDef) and node.name not in found
                    found[node.name] = ast.literal_eval(part.value)
    return found


def test_the_table_of_schema_versions_ends_with_the_one_that_is_written() -> None:
    numbers = [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
    assert numbers == [*range(1, SCHEMA_VERSION + 1)] == [*READ]
    assert f"version {SCHEMA_VERSION} is written" in PAGE


def test_operators_and_readers_have_the_versions_of_the_page() -> None:
    told = {name: int(number) for name, number in re.findall(r"^\| `(\w+)` \| (\d+) \| .+ \|$", PAGE, re.MULTILINE)}
    (ones,) = re.findall(r"^At version 1 are (.*?)\.$", PAGE, re.MULTILINE | re.DOTALL)
    told |= dict.fromkeys(re.findall(r"`(\w+)`", ones), 1)
    assert told == _classes()


def test_formats_have_the_versions_of_the_page() -> None:
    (part,) = re.findall(r"^## Formats of single parts$(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    rows = [(what, int(number)) for what, number in re.findall(r"^\| (.+?) \| (\d+) \|", part, re.MULTILINE)]
    assert len(rows) == len(FORMATS)
    for (what, number), (begins, version) in zip(rows, FORMATS.items(), strict=True):
        assert what.startswith(begins) and number == version
    assert manifests.choose.derived_unit.VERSION == manifests.choose.derive.VERSION


def test_no_other_constant_of_the_code_is_a_version() -> None:
    """What is raised for other bytes of a dataset, an export, a checkpoint or predictions is told; caches are not."""
    caches = {"manifests/browse/thumbnails.py", "manifests/browse/images.py"}
    told = {
        *("manifests/schema.py", "manifests/export/run.py", "manifests/export/preference_run.py"),
        *("manifests/choose/derive.py", "manifests/choose/derived_unit.py", "train/predict/run.py"),
        "xprompt_model/library.py",
    }
    found = set()
    for folder in ("manifests", "operators", "pipelines", "train", "xprompt_model"):
        for file in (ROOT / folder).rglob("*.py"):
            if re.search(
                r"^(?:\w+, )?_?(?:SCHEMA_)?VERSION(?:, \w+)? = (?:\S+, )?\d+$", file.read_text(), re.MULTILINE
            ):
                found.add(str(file.relative_to(ROOT)))
    assert found - caches == told


def test_the_contract_lists_the_columns_that_are_written() -> None:
    """In the order of the schema, with the fields of what is nested."""
    for heading, schema in (("manifest", MANIFEST), ("rejects", REJECTS)):
        (part,) = re.findall(
            rf"^\| column of (?:a )?{heading} \|.*?\n\|---\|---\|\n((?:\|.*\n)+)",
            (DOCS / "contract.md").read_text(),
            re.MULTILINE,
        )
        listed = [
            name for cell in re.findall(r"^\| (.*?) \|", part, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
        ]
        assert listed == schema.names
        nested = [
            field for field in schema if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type)
        ]
        for field in nested:
            (row,) = (row for row in part.splitlines() if f"`{field.name}`" in row.split("|")[1])
            assert {one.name for one in field.type.value_type} <= set(re.findall(r"`(\w+)`", row)), field.name
