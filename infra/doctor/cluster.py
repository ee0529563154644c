"""The Ray cluster that a run would connect to: its versions, its nodes, and whether they share OUT, DATA and MODELS."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.doctor import nodes, storage
from infra.doctor.asked import Asked
from infra.doctor.finding import Finding, fails, ok, skipped, warning
from infra.doctor.gpus import fitting, needs_none, without
from infra.doctor.limits import Undoing
from infra.doctor.models import folders
from infra.doctor.nodes import Seen, Shared, Versions
from manifests.storage import Store, absolute
from pipelines.run.dataset import anchored
from pipelines.run.lock import folder_for_now

CONNECT_S = 60.0
"""How long Ray may take to connect: it gives up after 40 s itself, and is sent our code."""

ANSWER_S = 60.0
"""How long a node may take to start a process of ours and to answer (pipelines/run/cluster.py gives it as long)."""

_WAY_OUT_OF_NODES = "see whether that machine runs, and reaches the driver's (all ports between nodes have to be open)"


class Cluster:
    """A cluster that the doctor is connected to, once `connect` has succeeded."""

    def __init__(self, asked: Asked, undoing: Undoing, extras: Sequence[str]) -> None:
        self._asked = asked
        self._undoing = undoing
        self._extras = extras
        self._nodes: Mapping[str, str] = {}
        """Id of a node -> what a user may call it."""

    def connect(self) -> Iterator[Finding]:
        """Connect as a run does, and count what there is."""
        from pipelines.run.session import ray_session
        from pipelines.run.start import RayUnavailable

        address = self._asked.address
        assert address
        stack = ExitStack()
        try:
            with _ray_address(address):
                stack.enter_context(ray_session())
        except RayUnavailable as error:
            text, _, way = str(error).partition("; ")
            yield fails("cluster", text, way)
            return
        self._undoing.later("the connection to the cluster", stack.close)
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
        working = [node for node in alive if node["Resources"].get("CPU")]
        self._nodes = named(working)
        there = ray.cluster_resources()
        text = (
            f"Ray {ray.__version__} at {address}: {len(alive)} nodes, {there.get('CPU', 0):g} CPUs, "
            f"{there.get('GPU', 0):g} GPUs"
        )
        if working:
            yield ok("cluster", text)
        else:
            yield fails("cluster", f"{text}: none has a CPU to work with", "add nodes: ray start --address=...")

    def machines(self) -> Iterator[Finding]:
        """Python, Ray, packages, memory, files and folders of each node, and whether it sees DATA and MODELS."""
        if not self._nodes:
            yield _unconnected("nodes")
            return
        places = self._places()
        answers = _on_each(self._nodes, nodes.look, lambda node: (self._extras, places))
        yield from _lost("nodes", answers)
        seen = {name: answer for name, answer in answers.items() if isinstance(answer, Seen)}
        yield from of_nodes(seen, {place: nodes.bytes_in(place) for place in places})

    def _places(self) -> list[str]:
        """The local folders that all nodes have to see: DATA, and the checkpoints that are there."""
        places = []
        data = self._asked.values["data"]
        if data and "://" not in str(data):
            places.append(absolute(str(data)))
        try:
            return [*places, *folders(self._asked.presences)]
        except (ValueError, ImportError):  # which is said of MODELS
            return places

    def out(self) -> Iterator[Finding]:
        """Whether all nodes see what the driver writes into OUT, and the driver what each of them writes."""
        if not self._nodes:
            yield _unconnected("OUT, nodes")
            return
        try:
            place = anchored(str(self._asked.values["out"]))
            store = Store(place)
        except (ValueError, ImportError, OSError):
            yield skipped("OUT, nodes", "not looked at: see OUT")
            return
        drivers = f"{storage.PROBE}{uuid.uuid4().hex}"
        names = {node: f"{drivers}-{number}" for number, node in enumerate(self._nodes)}
        try:
            with (
                folder_for_now(Path(store.root) if store.is_local else None),
                self._undoing.after(store.path(drivers), lambda: storage.forget(store, drivers)),
            ):
                store.write_bytes(drivers, drivers.encode())
                with self._undoing.after(f"{store.path(drivers)}-* on each node", lambda: self._forget(place, names)):
                    answers = _on_each(self._nodes, nodes.share, lambda node: (place, drivers, names[node]))
                    there = _appeared(store, [names[node] for node in self._nodes], answers.values())
        except (OSError, ValueError, ImportError):
            yield skipped("OUT, nodes", "not looked at: see OUT")
            return
        by_name = {name: names[node] in there for node, name in self._nodes.items()}
        yield from _lost("OUT, nodes", answers)
        answered = {name: answer for name, answer in answers.items() if isinstance(answer, Shared)}
        yield from of_out(place, answered, by_name, local=store.is_local)

    def _forget(self, place: str, names: Mapping[str, str]) -> None:
        _on_each(self._nodes, nodes.remove, lambda node: (place, names[node]))

    def clocks(self) -> Iterator[Finding]:
        """How far the nodes' clocks are from ours. Each is asked twice: the first time may start a process."""
        if not self._nodes:
            yield _unconnected("clocks")
            return
        _on_each(self._nodes, nodes.now, lambda node: ())
        skews = {}
        for node, name in self._nodes.items():
            began_s = time.time()
            answer = _on_each({node: name}, nodes.now, lambda node: ()).get(name)
            if isinstance(answer, tuple):
                skews[name] = max(began_s - answer[1], answer[1] - time.time(), 0.0)
        off = [
            found
            for name, skew_s in skews.items()
            if (found := storage.clock("clocks", skew_s, f"of {name}")).state != "ok"
        ]
        yield from off or [ok("clocks", f"those of {len(skews)} nodes agree with ours")]

    def gpus(self) -> Iterator[Finding]:
        """The GPUs of the cluster, and whether the task's models fit into the smallest."""
        if not self._nodes:
            yield _unconnected("GPUs")
            return
        if needs_none(self._asked):
            yield ok("GPUs", f"{self._asked.name} needs none")
            return
        import ray

        from pipelines.run.gpus import least_gib

        count, stated = ray.cluster_resources().get("GPU", 0.0), self._asked.values["gpus"]
        if not count:
            if stated and self._asked.values["gpu_gib"]:
                gib = self._asked.values["gpu_gib"]
                yield fitting(self._asked, gib, f"none yet, {stated} of {gib:g} GiB are to come")
            else:
                yield without(self._asked, "the cluster has none")
            return
        least = least_gib()
        if least is None:
            yield warning(
                "GPUs",
                f"{count:g} by Ray's count, and PyTorch sees none on a node (or all are taken by other runs)",
                "install PyTorch's build for CUDA on the nodes, and see whether their GPUs are free: ray status",
            )
            return
        yield fitting(self._asked, least, f"{count:g}, the smallest of {least:.1f} GiB")


def named(alive: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Nodes, by their ids, as a user may call them: host and address, with the id if that is not enough."""
    names = {node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})" for node in alive}
    times = Counter(names.values())
    return {node: name if times[name] == 1 else f"{name[:-1]}, {node[:6]})" for node, name in names.items()}


def of_nodes(seen: Mapping[str, Seen], here: Mapping[str, int]) -> Iterator[Finding]:
    """What nodes have seen, by their names; `here` is what the driver sees of the places that are to be shared."""
    ours, whole = Versions.here(), 0
    for name, one in seen.items():
        wrong = [*versions(ours, one.versions), *(found for found in one.findings if found.state != "ok")]
        for place, size in here.items():
            if one.bytes.get(place) != size:
                what = "is not to be seen there" if one.bytes.get(place, -1) < 0 else "is another one there"
                way_out = "put it on a disk that all nodes share, by the same path, or in a bucket"
                wrong.append(fails("nodes", f"{place} {what}", way_out))
        whole += not wrong
        for found in wrong:
            what = "" if found.name == "nodes" else f"{found.name}: "
            yield replace(found, name="nodes", text=f"{name}: {what}{found.text}")
    if whole:
        yield ok("nodes", f"{whole} of {len(seen)}: Python, packages, memory, files, DATA and MODELS will do")


def versions(ours: Versions, theirs: Versions) -> Iterator[Finding]:
    """How what a node runs on differs from what the driver does."""
    if theirs.ray != ours.ray:
        yield fails("nodes", f"Ray {theirs.ray}, and here {ours.ray}", "install the same: pip install ray==...")
    if theirs.python.split(".")[:2] != ours.python.split(".")[:2]:
        yield fails("nodes", f"Python {theirs.python}, and here {ours.python}", "use the same on all nodes")
    if theirs.ours and ours.ours and theirs.ours != ours.ours:
        text = f"xprompt-data-engine {theirs.ours}, and here {ours.ours}"
        yield fails("nodes", text, "install the same: other versions make other bytes")


def of_out(place: str, answered: Mapping[str, Shared], there: Mapping[str, bool], *, local: bool) -> Iterator[Finding]:
    """What nodes have seen of OUT, by their names; `there` says of whom the driver has seen the file."""
    if local:
        way = "OUT has to be on a disk that all nodes share, by the same path, or in a bucket"
    else:
        way = "give the nodes the same credentials, endpoint and packages (in the environment of ray start)"
    wrong = []
    for name, one in answered.items():
        if one.sees:
            wrong.append(fails("OUT, nodes", f"{place} is not shared with {name}: {one.sees}", way))
        elif one.wrote:
            wrong.append(fails("OUT, nodes", f"{name} cannot write to {place}: {one.wrote}", f"same user? {way}"))
        elif not there.get(name):
            wrong.append(fails("OUT, nodes", f"what {name} writes to {place} is not seen here", way))
    yield from wrong
    if answered and not wrong:
        yield ok("OUT, nodes", f"{len(answered)} nodes and this machine see what each other writes to {place}")


def _appeared(store: Store, names: Sequence[str], answers: Any) -> set[str]:
    """The files of nodes that the driver sees: as soon as it sees all that were written, or after a while."""
    wrote = sum(isinstance(one, Shared) and not one.wrote for one in answers)
    until_s = time.monotonic() + nodes.APPEARS_S
    while True:
        there = {name for name in names if store.exists(name) and store.read(name) == name.encode()}
        if len(there) >= wrote or time.monotonic() > until_s:
            return there
        time.sleep(0.5)


def _on_each(
    there: Mapping[str, str], call: Callable[..., Any], arguments: Callable[[str], tuple[Any, ...]]
) -> dict[str, Any]:
    """What `call` gives on each node, by the node's name: an error of Ray's where it fails, None for no answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    task: Any = ray.remote(num_cpus=0, max_retries=0)(call)
    asked = {
        name: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            *arguments(node)
        )
        for node, name in there.items()
    }
    ready, late = ray.wait([*asked.values()], num_returns=len(asked), timeout=ANSWER_S)
    for one in late:
        ray.cancel(one, force=True)
    answers: dict[str, Any] = {}
    for name, reference in asked.items():
        answers[name] = None
        if reference in ready:
            try:
                answers[name] = ray.get(reference)
            except Exception as error:  # Ray's own, and whatever the call raised
                answers[name] = error
    return answers


def _lost(name: str, answers: Mapping[str, Any]) -> Iterator[Finding]:
    """The nodes that have not answered, or could not."""
    for node, answer in answers.items():
        if answer is None:
            yield fails(name, f"{node} has not answered within {ANSWER_S:g} s", _WAY_OUT_OF_NODES)
        elif isinstance(answer, Exception):
            said = [line for line in str(answer).splitlines() if line.strip()] or [type(answer).__name__]
            if "ModuleNotFoundError" in str(answer):
                yield fails(name, f"{node}: {said[-1]}", "install the package there, the same version as here")
            else:
                yield fails(name, f"{node}: {said[-1][:400]}", _WAY_OUT_OF_NODES)


def _unconnected(name: str) -> Finding:
    return skipped(name, "not looked at: see cluster")


@contextmanager
def _ray_address(address: str) -> Iterator[None]:
    """Within the block RAY_ADDRESS, by which a run finds its cluster, is `address`."""
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAY_ADDRESS"]
        else:
            os.environ["RAY_ADDRESS"] = before
