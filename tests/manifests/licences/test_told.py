"""Tables of licences: that of infra/docs/licences.md is what the records say."""

from __future__ import annotations

import re

from manifests.licences import told
from manifests.licences.effective import named, parents
from manifests.licences.records import LICENCES, MODELS, SOURCES
from pipelines.tasks.catalogue import OUR_TASKS
from tests.commands import ROOT

TABLE = re.compile(r"<!-- licences -->\n(.*?)<!-- /licences -->", re.DOTALL)


def test_the_table_of_the_documents_is_of_the_records() -> None:
    readers = [reader for task in OUR_TASKS.values() for reader in task.readers()]
    used = {name for reader in readers for name in named(reader.licence)}
    used |= {name for reader in readers for name in SOURCES.get(reader.source, ())} | {*MODELS.values()}
    rows = [told.row(licence) for name, licence in LICENCES.items() if name in used]
    found = TABLE.search((ROOT / "infra/docs/licences.md").read_text())
    assert found
    assert found[1].split("\n") == [*told.HEADING, *rows, ""]


def test_the_last_row_is_the_strictest() -> None:
    rows = told.table(parents("CC-BY-4.0; who knows", "mine", frozenset({"flux"})))
    assert rows[2:] == [
        "| [CC-BY-4.0](https://creativecommons.org/licenses/by/4.0/legalcode) | yes | yes | yes | yes | yes | no |",
        f"| [LicenseRef-FLUX.1-dev]({LICENCES['LicenseRef-FLUX.1-dev'].url}) | no | yes | yes | no | no | no |",
        "| a licence without a record |" + " not stated |" * 6,
        "| **all of them together** | no | not stated | not stated | no | yes | not stated |",
    ]
