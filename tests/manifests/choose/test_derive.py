"""Derived datasets against a plain selection by hand, and what they refuse."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.command import main
from manifests.choose.decisions import Ledger
from manifests.choose.derive import derive
from manifests.choose.derived_unit import derive_unit
from manifests.dataset import Dataset, DatasetError
from manifests.read.sql_pool import SqlError
from manifests.schema import NOTHING_KEPT
from manifests.verify.dataset import verify
from tests.manifests.choose.test_decisions import decided, fixed
from tests.manifests.make import finish_dataset, make_dataset
from tests.manifests.verify.damage import edit


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two units of four pairs, and decisions on it."""
    root = tmp_path_factory.mktemp("parents")
    keys = [pair.key for pair in make_dataset(f"{root}/derain", units=2, pairs=4).pairs()]
    ledger = Ledger(root / "decisions.jsonl")
    for one in (
        decided(keys[0], "drop"),
        *(decided(keys[1], "keep", name) for name in ("Ada", "Bo")),
        decided(keys[1], "drop", "Cy"),
        *(decided(keys[2], "keep"), decided(keys[2], "drop", "Bo")),
        fixed("Dry it.", pair=keys[3]),
        decided(keys[5], "flag", "Bo"),
        decided("f" * 32, "drop"),
    ):
        ledger.append(one)
    return root


@pytest.fixture
def parent(parents: Path) -> Dataset:
    return Dataset(f"{parents}/derain")


@pytest.fixture
def ledger(parents: Path) -> Ledger:
    return Ledger(parents / "decisions.jsonl").read()


def files(root: str | Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def test_what_is_derived_is_what_was_decided(parent: Dataset, ledger: Ledger, tmp_path: Path) -> None:
    before = files(parent.url)
    sql = "SELECT pair FROM pairs WHERE scores['mean_abs_diff'] < 0.8;"
    done = derive(parent, f"{tmp_path}/derain", ledger=ledger, sql=sql)
    keys = [pair.key for pair in parent.pairs()]
    assert [pair.key for pair in done.dataset.pairs()] == [keys[1], *keys[3:7]]
    assert done.selection.reasons == {"dropped": 1, "disputed": 1, "not_selected": 1}
    assert [*verify(str(tmp_path))] == []
    for pair in done.dataset.pairs():
        was = parent[pair.key]
        assert [pair.image_bytes(role) for role in pair.roles] == [was.image_bytes(role) for role in was.roles]
        mine, theirs = ({k: v for k, v in one.record.items() if k not in ("images", "steps")} for one in (pair, was))
        assert mine == theirs
        for one, other in zip(pair.examples, was.examples, strict=True):
            is_fixed = pair.key == keys[3] and (one.direction, one.kind) == ("forward", "generate")
            assert one.instruction == ("Dry it." if is_fixed else other.instruction)
            assert (one.text, one.inputs, one.output) == (other.text, other.inputs, other.output)
            assert [c["pair"] for c in one.ranked] == [
                c["pair"] for c in other.ranked if c["pair"] not in (keys[0], keys[2], keys[7])
            ]
    totals = done.dataset.description()["totals"]
    assert totals["examples_without_context"] == 4 * 3  # of keys 1, 3 and 4: the pairs before them in their shards
    assert totals["rejects_by_reason"] == {"disputed": 1, "dropped": 1, "not_selected": 1, "truncated": 2}
    steps = {pair.key: pair.record["steps"][-1] for pair in done.dataset.pairs()}
    assert steps[keys[4]] == parent[keys[4]].record["steps"][-1]  # nobody has decided
    assert json.loads(steps[keys[3]]["params"]) == {
        "fixed": [{"direction": "forward", "kind": "generate", "was": "Take away the rain — vollständig."}],
        "reviews": [{"decision": "fix", "reviewer": "Ada", "time": "2026-11-30T02:20:00Z"}],
    }
    voted = {one["decision"] for one in json.loads(steps[keys[1]]["params"])["reviews"]}
    assert (steps[keys[1]]["operator"], voted) == ("choose", {"keep", "drop"})
    assert files(parent.url) == before
    plan, named = done.dataset.plan(), done.dataset.description()["config"]["derived_from"]
    assert (named["dataset"], named["sql"], named["undecided"]) == ("derain", sql, "keep")
    for name, path in (("dataset_json_sha256", "dataset.json"), ("decisions_sha256", "../decisions.jsonl")):
        assert named[name] == hashlib.sha256((Path(parent.url) / path).read_bytes()).hexdigest()
    said = (
        f"Derived from `derain` (sha256 of its dataset.json `{named['dataset_json_sha256']}`) by decisions of reviewers"
    )
    assert said in (tmp_path / "derain/README.md").read_text()
    assert (plan.config["derived_from"], plan.config["seed"]) == (named, parent.plan().config["seed"])


def test_a_killed_run_goes_on_to_the_same_bytes(
    parent: Dataset, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files(derive(parent, f"{tmp_path}/whole/derain", ledger=ledger).dataset.url)
    half = Dataset(f"{tmp_path}/half/derain")
    real, write = derive_unit, type(half.store).write_bytes

    def after_one_unit(*arguments: Any) -> Any:
        if arguments[3]:
            raise KeyboardInterrupt
        return real(*arguments)

    def before_its_manifest(store: Any, name: str, data: bytes) -> None:
        if name == "manifest/derain-000001.parquet":
            raise KeyboardInterrupt
        write(store, name, data)

    def before_the_end(store: Any, name: str, data: bytes) -> None:
        if name == "dataset.json":
            raise KeyboardInterrupt
        write(store, name, data)

    for target, stop in (
        ("manifests.choose.derive.derive_unit", after_one_unit),
        ("manifests.storage.Store.write_bytes", before_its_manifest),
        ("manifests.storage.Store.write_bytes", before_the_end),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, stop)
            with pytest.raises(KeyboardInterrupt):
                derive(parent, half.url, ledger=ledger)
        assert not half.store.exists("dataset.json") and {*half.unit_names()} <= {"derain-000000", "derain-000001"}
    assert not derive(parent, half.url, ledger=ledger).was_there
    assert files(half.url) == whole
    assert derive(parent, half.url, ledger=ledger).was_there and files(half.url) == whole
    with pytest.raises(DatasetError, match=r"derived_from\.undecided: 'keep' there, 'drop' now"):
        derive(parent, half.url, ledger=ledger, undecided="drop")
    assert files(half.url) == whole


def _out_is_the_parent(parent: Dataset, out: Path) -> str:
    return parent.url


def _out_is_a_link_to_the_parent(parent: Dataset, out: Path) -> str:
    (out / "link").symlink_to(parent.url)
    return f"{out}/link"


def _out_is_in_the_parent(parent: Dataset, out: Path) -> str:
    return f"{parent.url}/shards/derain"


def _out_is_around_the_parent(parent: Dataset, out: Path) -> str:
    return str(Path(parent.url).parent)


def _out_has_photos(parent: Dataset, out: Path) -> str:
    (out / "photo.png").touch()
    return str(out)


def _out_is_another_dataset(parent: Dataset, out: Path) -> str:
    shutil.copytree(parent.url, out / "derain")
    return f"{out}/derain"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (_out_is_the_parent, "are one folder or lie in each other"),
        (_out_is_a_link_to_the_parent, "are one folder or lie in each other"),
        (_out_is_in_the_parent, "are one folder or lie in each other"),
        (_out_is_around_the_parent, "are one folder or lie in each other"),
        (_out_has_photos, "is not empty"),
        (_out_is_another_dataset, "holds data of another configuration"),
    ],
)
def test_a_folder_that_holds_something_else_is_refused(
    parent: Dataset, ledger: Ledger, tmp_path: Path, place: Callable[[Dataset, Path], str], why: str
) -> None:
    before = files(parent.url)
    out = place(parent, tmp_path)
    with pytest.raises(DatasetError, match=why):
        derive(parent, out, ledger=ledger)
    assert files(parent.url) == before


def test_sql_that_selects_no_pairs_of_the_parent_is_refused(parent: Dataset, tmp_path: Path) -> None:
    for sql, why in (
        ("SELECT task FROM pairs", 'column "pair" not found'),
        ("SELECT 'x' AS pair", "has 'x', which is no pair of"),
        ("SELECT NULL AS pair", "is no pair of"),
        ("SELECT pair FROM pairs); DROP VIEW pairs; SELECT (1", "refused|Parser Error"),
        ("SELECT pair FROM read_text('/etc/passwd')", "Permission Error|not found"),
    ):
        with pytest.raises(SqlError, match=why) as refused:
            derive(parent, f"{tmp_path}/derain", sql=sql)
        assert "\n" not in str(refused.value)
    assert files(tmp_path) == {}


def test_a_parent_that_was_changed_is_refused(parents: Path, tmp_path: Path, ledger: Ledger) -> None:
    root = Path(shutil.copytree(parents / "derain", tmp_path / "derain"))
    shard = root / "shards/derain-000001.tar"
    data = shard.read_bytes()
    shard.write_bytes(data.replace(b"IDAT", b"IDAX", 1))
    with pytest.raises(DatasetError, match=r"input\.png is not what its manifest says"):
        derive(Dataset(root), f"{tmp_path}/out/derain", ledger=ledger)
    edit(root / "manifest/derain-000001.parquet", lambda rows: rows[0].update(instruction="other"))
    with pytest.raises(DatasetError, match=r"derain-000001\.parquet is not what dataset\.json says"):
        derive(Dataset(root), f"{tmp_path}/out/derain", ledger=ledger)
    wrong = Ledger(tmp_path / "decisions.jsonl")
    wrong.append(fixed("x", pair=next(Dataset(root).pairs()).key))
    rejects = root / "manifest/derain-000000.parquet"
    edit(rejects, lambda rows: [row.update(direction="reverse") for row in rows if row["direction"] == "forward"])
    with pytest.raises(DatasetError, match=r"fixes the example forward generate of pair .*, which has none in"):
        derive(Dataset(root), f"{tmp_path}/other/derain", ledger=wrong.read())


def test_contexts_of_another_dataset_are_found_from_where_the_derived_one_lies(tmp_path: Path) -> None:
    data = tmp_path / "data"
    other = make_dataset(f"{data}/magicbrush", units=1, pairs=1, first=50)
    (there,) = other.pairs()
    parent = make_dataset(f"{data}/derain", units=1, pairs=2)
    manifest = data / "derain/manifest/derain-000000.parquet"
    context = {"pair": there.key, "dataset": "magicbrush", "score": 0.5}
    edit(manifest, lambda rows: [row.update(contexts=[*row["contexts"], context]) for row in rows])
    (data / "derain/dataset.json").unlink()
    finish_dataset(parent, parent.plan())
    sql = "SELECT pair FROM pairs ORDER BY source_ref LIMIT 1"
    dataset = derive(parent, f"{tmp_path}/new/deep/derain", sql=sql).dataset
    (pair,) = dataset.pairs()
    (shown,) = pair.examples[0].contexts()  # its own shard's other pair is gone
    assert shown.pair.key == there.key
    assert pair.examples[0].ranked == ({**context, "dataset": "../../data/magicbrush"},)


def test_the_command(parents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "chosen"
    assert main(["derive", f"{parents}/derain", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"{out}/derain: 6 of 8 pairs of {parents}/derain, 1 instruction fixed" in printed
    assert "left out, as rejects with why: 1 disputed; 1 dropped" in printed
    assert "1 pair with decisions in the file, not in this dataset" in printed
    assert f"xprompt contexts {out}/derain chooses them anew" in printed
    assert main(["verify", str(out)]) == 0
    assert main(["agreement", str(parents), "--gate", "mean_abs_diff>=0.05", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["reviewers"]["Bo"], answer["two"][0]["pairs"]) == ({"drop": 1, "flag": 1, "keep": 1}, 2)
    nothing = ["--sql", "SELECT pair FROM pairs WHERE false"]
    assert main(["derive", f"{parents}/derain", "--out", str(out), *nothing]) == NOTHING_KEPT
    assert "is left: 8 not_selected" in capsys.readouterr().err
    assert main(["derive", f"{out}/derain", "--out", str(tmp_path / "more")]) == 2
    assert "there is nothing to choose by: give --sql" in capsys.readouterr().err
    assert main(["agreement", str(out)]) == 2


def test_a_folder_without_a_finished_dataset_is_said_to_be_none_before_anything_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(f"{tmp_path}/unfinished", units=1, pairs=2)
    (tmp_path / "unfinished/dataset.json").unlink()
    for command, said in (
        (["derive", f"{tmp_path}/none", "--out", f"{tmp_path}/out"], "is not a dataset directory"),
        (["derive", f"{tmp_path}/unfinished", "--out", f"{tmp_path}/out"], "unfinished"),
        (["agreement", f"{tmp_path}/none"], "no dataset"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err
