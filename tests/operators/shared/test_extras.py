from __future__ import annotations

import sys
from pathlib import Path

import pytest

from operators.shared.extras import MissingExtra, need


def test_without_the_extra_one_line_says_what_to_install() -> None:
    with pytest.raises(MissingExtra, match=r"install the extra, pip install 'xprompt-data-engine\[models\]'"):
        need("no_such_package.module")


def test_a_package_that_lacks_one_of_its_own_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        need("broken_package")
    assert not isinstance(caught.value, MissingExtra)
    assert "broken_package" not in sys.modules
