"""Rules of the code base that no single module can keep."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"manifests", "operators", "pipelines", "xprompt_model", "train", "infra", "tests"}
MAY_IMPORT: dict[str, set[str]] = {
    "manifests": set(),
    "operators": {"manifests", "xprompt_model.text", "xprompt_model.vqgan"},
    "pipelines": {"manifests", "operators"},
    "xprompt_model": {"operators.shared"},
    "train": {"manifests", "operators.shared", "xprompt_model"},
}
"""Package -> what of ours it may import, itself aside. infra and tests may import anything."""
ROOMS: dict[str, set[str]] = {
    "operators.shared": {"manifests.schema", "manifests.images"},
    "operators.read": {
        "operators.option",
        "manifests",
        "operators.shared",
        "operators.arrange.dense",
        "operators.arrange.grid",
        "operators.base",
        "operators.word.instruct",
        "operators.judge.edit_rules",
    },
    "operators.models": {
        "manifests",
        "operators.shared",
        "operators.base",
        "operators.account",
        "operators.batching",
        "operators.option",
        "operators.pictures",
    },
    "operators.vlm": {
        "manifests",
        "operators.shared",
        "operators.base",
        "operators.account",
        "operators.batching",
        "operators.models",
    },
    "manifests.images": {"manifests.schema", "manifests.storage", "manifests.dataset", "manifests.parquet"},
    "manifests.licences": set(),
    "manifests.write": {
        "manifests.images",
        "manifests.licences",
        "manifests.schema",
        "manifests.storage",
        "manifests.records",
        "manifests.dataset",
        "manifests.parquet",
        "manifests.versions",
    },
    "train.data": {"manifests", "operators.shared", "xprompt_model"},
    "train.evaluate": {"manifests", "operators.shared", "xprompt_model", "train.data"},
    "train.predict": {"manifests", "operators.shared", "xprompt_model", "train.evaluate"},
}
"""Folder -> what of ours it may import, itself aside, where the rule of its package is not narrow enough."""
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}

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


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_what_they_may(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in _modules(room)
        for line, name in _imports(path)
        if name.partition(".")[0] in OURS and not _is_allowed(name, {room, *ROOMS[room]})
    ]
    assert _modules(room)
    assert wrong == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    """Imports inside functions count too: what is put off until a call is still a circle."""
    graph = {
        _module(path): {target for _, name in _imports(path) if (target := _resolved(name))}
        for package in MAY_IMPORT
        for path in _modules(package)
    }
    assert sum(map(len, graph.values())) > 300
    assert _circles(graph) == []
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_every_folder_says_what_lives_there() -> None:
    folders = {path.parent for package in MAY_IMPORT for path in _modules(package)}
    assert len(folders) > 20
    silent = [str(f.relative_to(ROOT)) for f in sorted(folders) if not ast.get_docstring(_tree(f / "__init__.py"))]
    assert silent == []


@pytest.mark.parametrize("package", ["manifests", "operators", "pipelines"])
def test_nothing_is_pickled_by_us(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in _modules(package)
        for line, name in _imports(path)
        if name.partition(".")[0] in PICKLES
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["operators", "xprompt_model", "train", "infra"])
def test_no_checkpoint_brings_code_of_its_own(package: str) -> None:
    """Without a word of ours, transformers' Auto classes ask on the terminal whether to run a checkpoint's code."""
    calls = [
        (path, call)
        for path in _modules(package)
        if "AutoConfig" in path.read_text() or re.search(r"\bAuto[A-Z]\w+\.from_pretrained", path.read_text())
        for call in ast.walk(_tree(path))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "from_pretrained"
    ]
    trusting = [
        f"{path.name}:{call.lineno}"
        for path, call in calls
        if not any(word.arg == "trust_remote_code" and ast.unparse(word.value) == "False" for word in call.keywords)
        and "Qwen2VLForConditionalGeneration" not in ast.unparse(call.func)  # a class of the library's own
    ]
    assert trusting == []
    assert bool(calls) is (package in ("operators", "train"))


def test_every_operator_and_reader_has_its_test_file() -> None:
    with_classes = {
        path.relative_to(ROOT / "operators")
        for path in _modules("operators")
        if path.stem != "base" and any(isinstance(node, ast.ClassDef) for node in _tree(path).body)
    }
    assert {str(path) for path in with_classes} >= {"degrade/rain.py", "judge/gate.py", "read/photos.py"}
    untested = [
        str(path)
        for path in with_classes
        if not (ROOT / "tests/operators" / path.parent / f"test_{path.stem}.py").exists()
    ]
    assert untested == []


def test_the_import_rule_sees_what_it_should(tmp_path: Path) -> None:
    """The rules above would pass if the parser saw nothing."""
    module = tmp_path / "module.py"
    module.write_text(
        "import operators.degrade.rain as rain, os\n"
        "from pipelines import tasks\n"
        "from . import sibling\n"
        "def f():\n    from xprompt_model.vqgan import VQGAN\n    import pickle\n"
    )
    assert list(_imports(module)) == [
        (1, "operators.degrade.rain"),
        (1, "os"),
        (2, "pipelines.tasks"),
        (5, "xprompt_model.vqgan.VQGAN"),
        (6, "pickle"),
    ]
    assert _is_allowed("xprompt_model.vqgan.VQGAN", MAY_IMPORT["operators"])
    assert not _is_allowed("xprompt_model.vqgan_old", MAY_IMPORT["operators"])
    assert not _is_allowed("xprompt_model.chameleon", MAY_IMPORT["operators"])
    assert not _is_allowed("pipelines.tasks.catalogue", MAY_IMPORT["train"])


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
    return sorted((ROOT / package.replace(".", "/")).rglob("*.py"))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _resolved(name: str) -> str | None:
    """The module of ours that `import name` runs: `name` itself, or what it is a member of."""
    while name.partition(".")[0] in MAY_IMPORT:
        path = ROOT / name.replace(".", "/")
        if path.with_suffix(".py").exists() or (path / "__init__.py").exists():
            return name
        name = name.rpartition(".")[0]
    return None


def _circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules of which each imports, be it by way of others, every other."""
    reached: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        ahead = [*graph[start]]
        while ahead:
            module = ahead.pop()
            if module not in seen:
                seen.add(module)
                ahead += graph.get(module, ())
        reached[start] = seen
    groups = {
        tuple(sorted({other for other in reached[module] if module in reached.get(other, ())}))
        for module in graph
        if module in reached[module]
    }
    return sorted(map(list, groups))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))
