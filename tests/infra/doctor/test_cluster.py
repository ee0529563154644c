"""What nodes tell, and what is made of it. A real cluster, one of whose nodes sees other disks: test_two_nodes.py."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from infra.doctor import nodes
from infra.doctor.cluster import named, of_nodes, of_out, versions
from infra.doctor.finding import ok, warning
from infra.doctor.nodes import Seen, Shared, Versions

HERE = Versions.here()


def test_versions_that_differ() -> None:
    assert [*versions(HERE, HERE)] == []
    (found,) = versions(HERE, replace(HERE, ray="2.9.0"))
    assert found.state == "fails" and found.text == f"Ray 2.9.0, and here {HERE.ray}" and "pip install" in found.way_out
    (found,) = versions(HERE, replace(HERE, python="3.9.1"))
    assert found.text.startswith("Python 3.9.1")
    (found,) = versions(replace(HERE, ours="1"), replace(HERE, ours="2"))
    assert "xprompt-data-engine 2, and here 1" in found.text
    assert [*versions(HERE, replace(HERE, ours=""))] == []  # it is sent our clone


def test_what_nodes_see_is_told_by_their_names() -> None:
    good = Seen(versions=HERE, findings=[ok("memory", "much")], bytes={"/data": 10, "/models/flux": 20})
    (found,) = of_nodes({"a": good, "b": good}, {"/data": 10, "/models/flux": 20})
    assert found.state == "ok" and found.text.startswith("2 of 2")
    bad = Seen(
        versions=replace(HERE, ray="2.9.0"),
        findings=[warning("open files", "few", "raise them")],
        bytes={"/data": -1, "/models/flux": 19},
    )
    lines = [*of_nodes({"a": good, "a2": bad}, {"/data": 10, "/models/flux": 20})]
    assert [(one.state, one.text) for one in lines] == [
        ("fails", f"a2: Ray 2.9.0, and here {HERE.ray}"),
        ("warning", "a2: open files: few"),
        ("fails", "a2: /data is not to be seen there"),
        ("fails", "a2: /models/flux is another one there"),
        ("ok", "1 of 2: Python, packages, memory, files, DATA and MODELS will do"),
    ]
    assert all(one.way_out for one in lines[:-1])


def test_what_is_made_of_what_nodes_see_of_out() -> None:
    (found,) = of_out("/out", {"a": Shared(), "b": Shared()}, {"a": True, "b": True}, local=True)
    assert found.state == "ok"
    lines = of_out(
        "/out",
        {"a": Shared(), "b": Shared(sees="no"), "c": Shared(wrote="full"), "d": Shared()},
        {"a": True, "d": False},
        local=True,
    )
    assert [(one.state, one.text) for one in lines] == [
        ("fails", "/out is not shared with b: no"),
        ("fails", "c cannot write to /out: full"),
        ("fails", "what d writes to /out is not seen here"),
    ]
    (found,) = of_out("s3://b/o", {"a": Shared(sees="no")}, {}, local=False)
    assert "credentials" in found.way_out


def test_a_folder_that_the_other_side_does_not_see(tmp_path: Path) -> None:
    """As a node has it whose disk is its own: there is no such folder, or another one of the same path."""
    assert nodes.share(str(tmp_path / "none"), "d", "n", 0).sees == "there is no such folder"
    assert not (tmp_path / "none").exists()  # which would hide that it is not shared
    shared = nodes.share(str(tmp_path), "d", "n", 0)
    assert shared.sees == "it does not see what the driver writes there" and shared.wrote == ""
    nodes.remove(str(tmp_path), "n")
    nodes.remove(str(tmp_path), "n")
    assert [*tmp_path.iterdir()] == []


def test_a_folder_that_both_see_also_a_while_later(tmp_path: Path) -> None:
    (tmp_path / "d").write_bytes(b"d")
    assert nodes.share(str(tmp_path), "d", "n", 0) == Shared()
    assert (tmp_path / "n").read_bytes() == b"n"
    (tmp_path / "d").unlink()
    later = threading.Timer(0.2, lambda: (tmp_path / "d").write_bytes(b"d"))
    later.start()
    assert nodes.share(str(tmp_path), "d", "n", 20) == Shared()
    later.join()
    (tmp_path / "d").write_bytes(b"another's")
    assert nodes.share(str(tmp_path), "d", "n", 0).sees


def test_a_folder_that_a_node_may_not_write_to() -> None:
    assert nodes.share("/proc/self", "d", "n", 0).wrote


def test_bytes_of_places(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(3))
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c").write_bytes(bytes(4))
    assert nodes.bytes_in(str(tmp_path)) == 7 and nodes.bytes_in(str(tmp_path / "a")) == 3
    assert nodes.bytes_in(str(tmp_path / "none")) == -1


def test_names_of_nodes_are_told_apart() -> None:
    node = {"NodeManagerHostname": "one", "NodeManagerAddress": "10.0.0.1"}
    alone = {"NodeManagerHostname": "two", "NodeManagerAddress": "10.0.0.2", "NodeID": "c" * 56}
    assert named([{**node, "NodeID": "a" * 56}, {**node, "NodeID": "b" * 56}, alone]) == {
        "a" * 56: "one (10.0.0.1, aaaaaa)",
        "b" * 56: "one (10.0.0.1, bbbbbb)",
        "c" * 56: "two (10.0.0.2)",
    }
