"""SQL sees what committed units name, and can neither write nor read anything else."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import shutil
import threading
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.dataset import Dataset, DatasetError
from manifests.read.query import connect, export_sql, read_image, run_sql, select
from manifests.read.sql_child import ServedFile, ServedFiles, plain
from manifests.read.sql_pool import Form, Pool, SqlError
from tests.manifests.make import LICENCE, make_dataset, make_plan, write_unit


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks, below a name that is awkward in SQL and in a glob pattern."""
    out = tmp_path_factory.mktemp("it's [1] *")
    make_dataset(f"{out}/derain", units=2, pairs=3)
    make_dataset(f"{out}/lowlight", task="lowlight", units=1, pairs=2)
    return out


@pytest.fixture(scope="module")
def connection(out: Path) -> Pool:
    return connect(str(out))


def test_views(connection: Pool) -> None:
    counts = "SELECT task, count(*) AS n FROM {} GROUP BY ALL ORDER BY ALL"
    expected = {"examples": (24, 8), "pairs": (6, 2), "rejects": (2, 1)}
    for view, (derain, lowlight) in expected.items():
        assert run_sql(connection, counts.format(view)).rows == [("derain", derain), ("lowlight", lowlight)]


def test_a_pair_has_its_examples_and_provenance(connection: Pool) -> None:
    (pair,) = select(connection, "SELECT * FROM pairs WHERE task = ? ORDER BY source_ref LIMIT 1", ["derain"])
    assert [(example["direction"], example["kind"]) for example in pair["examples"]] == [
        ("forward", "generate"),
        ("forward", "describe"),
        ("reverse", "generate"),
        ("reverse", "describe"),
    ]
    assert (pair["licence"], pair["source_ref"], pair["steps"][0]["operator"]) == (LICENCE, "photo.png#0", "rain")
    assert pair["scores"] == {"mean_abs_diff": 0.0}


def test_one_dataset_directory_will_do(out: Path) -> None:
    assert run_sql(connect(f"{out}/lowlight"), "SELECT count(*) FROM pairs").rows == [(2,)]


def test_only_committed_units_are_seen(tmp_path: Path) -> None:
    dataset = Dataset(f"{tmp_path}/derain")
    plan = make_plan(dataset, units=3, pairs=2)
    assert run_sql(connect(str(tmp_path)), "SELECT * FROM examples").rows == []
    for unit in range(3):
        write_unit(dataset, plan, unit)
    (tmp_path / "derain/manifest/derain-000001.parquet").unlink()  # a unit killed just before its commit
    (tmp_path / "derain/manifest/.derain-000001.parquet.0.tmp").write_bytes(b"half")
    connection = connect(str(tmp_path))
    assert run_sql(connection, "SELECT DISTINCT shard FROM examples ORDER BY ALL").rows == [
        ("derain-000000.tar",),
        ("derain-000002.tar",),
    ]
    assert run_sql(connection, "SELECT source_ref FROM rejects ORDER BY ALL").rows == [
        ("photo.png#2",),
        ("photo.png#8",),
    ]


def test_two_directories_of_one_task_are_refused(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=2)
    shutil.copytree(tmp_path / "derain", tmp_path / "old")
    with pytest.raises(DatasetError, match="both hold derain"):
        connect(str(tmp_path))


def test_any_fsspec_url_is_read() -> None:
    make_dataset("memory://query/derain", units=1, pairs=2)
    try:
        assert run_sql(connect("memory://query"), "SELECT count(*) FROM pairs").rows == [(2,)]
    finally:
        fsspec.filesystem("memory").rm("/query", recursive=True)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "FROM pairs SELECT pair;  -- a comment",
        "WITH p AS (FROM pairs) SELECT count(*) FROM p",
        "DESCRIBE examples",
        "EXPLAIN SELECT * FROM pairs",
        "explain analyze select count(*) from pairs",
        "EXPLAIN (ANALYZE, FORMAT json) SELECT 1",
    ],
)
def test_selects_are_run(connection: Pool, sql: str) -> None:
    assert run_sql(connection, sql).rows


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT 1; SELECT 2",
        "COPY (SELECT 1) TO '{out}/derain/new.csv'",
        "COPY (SELECT 1) TO 'manifests://derain/manifest/derain-000000.parquet'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}/derain/new.csv'",
        "EXPLAIN /* ) */ ANALYZE COPY (SELECT 1) TO '{out}/derain/new.csv'",
        "WITH c AS (COPY (SELECT 1) TO '{out}/derain/new.csv') SELECT 1",
        "WITH c AS (COPY (SELECT 1) TO 'manifests://derain/manifest/derain-000000.parquet') SELECT 1",
        "WITH i AS (INSERT INTO examples SELECT * FROM examples) SELECT 1",
        "CREATE TABLE t (i INTEGER)",
        "DROP VIEW examples",
        "INSTALL httpfs",
        "LOAD httpfs",
        "ATTACH '{out}/new.db'",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_text('{out}/derain/dataset.json')",
        "SELECT * FROM read_blob('manifests://derain/../../../etc/passwd')",
        "SELECT * FROM read_csv('http://127.0.0.1:9/')",
        "SELECT * FROM glob('{out}/*')",
        "SELECT getenv('HOME')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM sql",  # a variable of the Python function that runs it
        "SELECT nothing FROM examples",
        "SELEC",
    ],
)
def test_all_else_is_refused_in_one_line(connection: Pool, out: Path, sql: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(SqlError) as refusal:
        run_sql(connection, sql.format(out=str(out).replace("'", "''")))
    assert len(str(refusal.value).splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_rows_are_bounded(connection: Pool) -> None:
    result = run_sql(connection, "SELECT * FROM range(1_000_000_000)", max_rows=5)
    assert (len(result.rows), result.truncated) == (5, True)
    assert not run_sql(connection, "SELECT * FROM range(5)", max_rows=5).truncated


def test_time_is_bounded(connection: Pool) -> None:
    with pytest.raises(SqlError, match=r"stopped after 0\.2 s"):
        run_sql(connection, "SELECT sum(a.range * b.range) FROM range(9999999) a, range(9999999) b", timeout_s=0.2)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT list(range) FROM range(1_000_000_000)",
        "SELECT length(repeat('x', 2000000000) || repeat('y', 2000000000))",
        "SELECT unnest(range(1000000000))",
        "SELECT repeat('x', 1500000000)",
        "SELECT list_transform(range(200000000), lambda x: x::VARCHAR || pair) FROM examples",
    ],
)
def test_memory_is_bounded(connection: Pool, sql: str) -> None:
    """Of DuckDB's buffers, and of the values outside of them, which are in no limit of its own."""
    with pytest.raises(SqlError, match=r"Out of Memory|too much memory|MemoryError|more than 64 MiB") as refusal:
        run_sql(connection, sql)
    assert len(str(refusal.value).splitlines()) == 1
    assert run_sql(connection, "SELECT count(*) FROM pairs").rows == [(8,)]


def test_the_system_bounds_each_process(connection: Pool) -> None:
    """Read from the kernel: what a process may map is above what it has by 2 GiB, and it can write no file."""
    run_sql(connection, "SELECT 1")
    for process in _processes():
        limits = Path(f"/proc/{process}/limits").read_text().splitlines()
        bounds = {line[:26].strip(): line[26:].split()[0] for line in limits[1:]}
        assert int(bounds["Max address space"]) < 4 * 2**30
        assert bounds["Max file size"] == "0"


def test_a_value_that_python_does_not_have_is_no_matter_of_memory(connection: Pool) -> None:
    with pytest.raises(SqlError, match="a value cannot be shown, cast it to VARCHAR"):
        run_sql(connection, "SELECT INTERVAL 10000000 YEARS")
    assert run_sql(connection, "SELECT (INTERVAL 10000000 YEARS)::VARCHAR").rows == [("10000000 years",)]


def test_an_answer_is_bounded_in_bytes(connection: Pool) -> None:
    assert len(run_sql(connection, "SELECT repeat('x', 1000000) FROM range(50)").rows) == 50
    with pytest.raises(SqlError, match="more than 64 MiB"):
        run_sql(connection, "SELECT repeat('x', 1000000) FROM range(70)")


def test_a_statement_that_was_stopped_has_ended(connection: Pool) -> None:
    with pytest.raises(SqlError, match=r"stopped after 0\.2 s"):
        run_sql(connection, "SELECT max(md5(a.range::VARCHAR)) FROM range(999999999) a", timeout_s=0.2)
    assert run_sql(connection, "SELECT 1").rows == [(1,)]


def test_processes_end_with_what_started_them(out: Path) -> None:
    before = _processes()
    pool = connect(str(out))
    (started,) = _processes() - before
    del pool
    gc.collect()
    assert not Path(f"/proc/{started}").exists()


def _processes() -> set[str]:
    """The processes that run SQL for this one."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(")")[2].split()[1]
            if parent == str(os.getpid()) and b"sql_child.py" in stat.with_name("cmdline").read_bytes():
                found.add(stat.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_a_manifest_of_other_types_is_refused(tmp_path: Path) -> None:
    make_dataset(f"{tmp_path}/derain", units=1, pairs=2)
    file = tmp_path / "derain/manifest/derain-000000.parquet"
    table = pq.read_table(file)
    shards = pa.array([5] * table.num_rows)
    pq.write_table(table.set_column(table.schema.get_field_index("shard"), "shard", shards), file)
    with pytest.raises(DatasetError, match=r"manifest/derain-000000\.parquet: its columns are not ours, shard"):
        connect(str(tmp_path))


def test_threads_read_the_same_files_at_once(connection: Pool) -> None:
    answers: list[object] = []

    def ask() -> None:
        for _ in range(20):
            answers.append(
                run_sql(connection, "SELECT sum(len(instruction)), count(DISTINCT pair) FROM examples").rows[0]
            )

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 80
    assert len(set(answers)) == 1


def test_a_thread_does_not_move_the_position_of_another() -> None:
    whole = bytes(range(256))

    class Served(ServedFiles):
        def ask(self, name: str, offset: int, length: int | None) -> bytes:
            assert (name, length is None) == ("f", False)
            return whole[offset : offset + (length or 0)]

    file = ServedFile(Served(["f"], []), "f")
    read: list[bytes] = []
    file.seek(100)
    thread = threading.Thread(target=lambda: read.append(file.read(4)))
    thread.start()
    thread.join()
    assert (read, file.read(8), file.tell()) == ([whole[:4]], whole[100:108], 108)


def test_a_suggestion_of_duckdb_is_kept(connection: Pool) -> None:
    for sql, suggestion in (
        ("SELECT task FROM exampels", 'Did you mean "examples"?'),
        ("SELECT pairr FROM pairs", 'Candidate bindings: "pair", '),
        ("SELECT lenght(task) FROM pairs", 'Did you mean "length"?'),
    ):
        with pytest.raises(SqlError) as refusal:
            run_sql(connection, sql)
        assert suggestion in str(refusal.value) and "LINE" not in str(refusal.value)


def test_read_image_refuses_what_a_forged_manifest_names(out: Path) -> None:
    dataset = Dataset(f"{out}/derain")
    place = {"offset": 512, "bytes": 8}
    assert len(read_image(dataset, "derain-000000.tar", place)) == 8
    for shard, forged in [
        ("../../../../etc/passwd", place),
        ("..", place),
        ("", place),
        ("derain-000000.tar\0", place),
        ("derain-000000.tar", {"offset": -1, "bytes": 8}),
        ("derain-000000.tar", {"offset": 0, "bytes": 2**40}),
        ("derain-000000.tar", {"offset": 2**30, "bytes": 8}),
        ("derain-000009.tar", place),
    ]:
        with pytest.raises(DatasetError):
            read_image(dataset, shard, forged)


def test_plain_keeps_what_json_would_lose() -> None:
    assert plain({"seed": 2**62, "score": float("nan"), "ref": (1, b"ab")}) == {
        "seed": str(2**62),
        "score": "nan",
        "ref": [1, "(2 bytes)"],
    }


def test_an_error_has_its_place(connection: Pool) -> None:
    for sql, marked in (
        ("SELECT pair,\n  lisence\nFROM pairs", "lisence"),
        ("SELECT '漢é😀', nosuch FROM pairs", "nosuch"),
        ("SELECT 1 FROM exampels", "exampels"),
        ("EXPLAIN SELECT nosuch", "nosuch"),
        (f"SELECT '{'x' * 500}', nosuch, '{'x' * 500}'", "nosuch"),
        ("SELEC", "SELEC"),
    ):
        with pytest.raises(SqlError) as refusal:
            run_sql(connection, sql)
        assert refusal.value.place is not None
        assert sql[slice(*refusal.value.place)] == marked
    for sql in ("SELECT error('[0,5]')", "COPY pairs TO 'x'", """SELECT error('{"exception_message": 1}')"""):
        with pytest.raises(SqlError) as refusal:
            run_sql(connection, sql)
        assert refusal.value.place is None


def test_export_as_csv_and_parquet(connection: Pool) -> None:
    sql = "SELECT pair, scores, images[1].width_px AS width, 1e18::BIGINT AS big FROM examples ORDER BY ALL"
    rows = run_sql(connection, sql).rows
    table = pq.read_table(io.BytesIO(export_sql(connection, sql, "parquet")))
    assert table["pair"].to_pylist() == [row[0] for row in rows]
    assert table.schema.field("width").type == pa.int32() and table["big"][0].as_py() == 10**18
    read = list(csv.DictReader(io.StringIO(export_sql(connection, sql, "csv").decode(), newline="")))
    assert [row["pair"] for row in read] == [row[0] for row in rows]
    assert [json.loads(row["scores"]) for row in read] == [row[1] for row in rows]
    assert {row["big"] for row in read} == {str(10**18)}
    assert pq.read_table(io.BytesIO(export_sql(connection, "EXPLAIN SELECT 1", "parquet"))).num_rows == 1
    many = "SELECT range, md5(range::VARCHAR) AS text FROM range(100_000)"  # more than are ever shown
    assert len(export_sql(connection, many, "csv").splitlines()) == 100_001
    assert pq.read_table(io.BytesIO(export_sql(connection, many, "parquet"))).num_rows == 100_000


def test_no_text_of_an_exported_csv_is_a_formula(connection: Pool) -> None:
    texts = ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", 'a"b,c', "line\nline", "-12", "plain"]
    values = ", ".join("('" + text.replace("'", "''") + "', -5, -0.5)" for text in texts)
    exported = export_sql(connection, f"""SELECT a AS "=a", b, c FROM (VALUES {values}) t(a, b, c)""", "csv").decode()
    head, *rows = csv.reader(io.StringIO(exported, newline=""))
    assert head == ["'=a", "b", "c"]
    assert [row[0].removeprefix("'") for row in rows] == texts  # nothing is lost
    assert [row[0] for row in rows if row[0][:1] in "=+-@\t\r"] == ["-12"]
    assert {tuple(row[1:]) for row in rows} == {("-5", "-0.5")}


def test_an_export_is_kept_in_as_any_other_statement(connection: Pool) -> None:
    forms: tuple[Form, ...] = ("csv", "parquet")
    for form in forms:
        for sql, message in (
            ("COPY pairs TO 'x.csv'", "refused"),
            ("SELECT * FROM read_text('/etc/passwd')", "Permission Error"),
            ("SELECT nosuch FROM pairs", "nosuch"),
            (
                "SELECT CASE WHEN range > 5000 THEN error('too late') END FROM range(9999)",
                "^Invalid Input Error: too late$",
            ),
            ("SELECT md5(range::VARCHAR) AS a FROM range(100_000_000)", "more than 2 MiB"),
        ):
            with pytest.raises(SqlError, match=message):
                connection.export(sql, form, max_bytes=2 * 2**20, timeout_s=20)
