"""Rules of the code base that no single module can keep."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"manifests", "operators", "pipelines", "xprompt_model", "train", "infra", "tests"}
MAY_IMPORT: dict[str, set[str]] = {
    "manifests": set(),
    "operators": {"manifests", "xprompt_model.vqgan"},
    "pipelines": {"manifests", "operators"},
    "xprompt_model": set(),
    "train": {"manifests", "xprompt_model"},
}
"""Package -> what of ours it may import, itself aside. infra and tests may import anything."""
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
MAX_LINES = 400

PACKAGES = sorted(package for package in OURS if (ROOT / package).is_dir())


@pytest.mark.parametrize("package", [package for package in PACKAGES if package in MAY_IMPORT])
def test_imports_go_one_way(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in _modules(package)
        for line, name in _imports(path)
        if name.partition(".")[0] in OURS and not _is_allowed(name, {package, *MAY_IMPORT[package]})
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["manifests", "operators", "pipelines"])
def test_nothing_is_pickled_by_us(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in _modules(package)
        for line, name in _imports(path)
        if name.partition(".")[0] in PICKLES
    ]
    assert wrong == []


def test_every_operator_and_reader_has_its_test_file() -> None:
    with_classes = {
        path.stem
        for path in _modules("operators")
        if path.stem != "base" and any(isinstance(node, ast.ClassDef) for node in _tree(path).body)
    }
    assert with_classes >= {"rain", "gate", "instruct", "read_photos"}
    tested = {path.stem.removeprefix("test_") for path in (ROOT / "tests/operators").glob("test_*.py")}
    assert with_classes - tested == set()


def test_no_file_is_too_long_to_read() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text().splitlines()) for p in PACKAGES for path in _modules(p)}
    assert len(lengths) > 20
    assert {str(path): lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_the_import_rule_sees_what_it_should(tmp_path: Path) -> None:
    """The rules above would pass if the parser saw nothing."""
    module = tmp_path / "module.py"
    module.write_text(
        "import operators.rain as rain, os\n"
        "from pipelines import tasks\n"
        "from . import sibling\n"
        "def f():\n    from xprompt_model.vqgan import VQGAN\n    import pickle\n"
    )
    assert list(_imports(module)) == [
        (1, "operators.rain"),
        (1, "os"),
        (2, "pipelines.tasks"),
        (5, "xprompt_model.vqgan.VQGAN"),
        (6, "pickle"),
    ]
    assert _is_allowed("xprompt_model.vqgan.VQGAN", MAY_IMPORT["operators"])
    assert not _is_allowed("xprompt_model.vqgan_old", MAY_IMPORT["operators"])
    assert not _is_allowed("xprompt_model.chameleon", MAY_IMPORT["operators"])
    assert not _is_allowed("pipelines.tasks", MAY_IMPORT["train"])


def _is_allowed(name: str, allowed: set[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in allowed)


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a module imports, at its top or inside functions."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))
