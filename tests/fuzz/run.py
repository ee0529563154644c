"""Runs inputs in a child process, which may crash, hang or eat memory, and says what each of them did."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import resource
import signal
import struct
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Target

CPU_S = 20.0
"""Most CPU time for one input, seconds: an image of 64 million pixels, the largest, takes some."""

WALL_S = 120.0
"""Most time for one input, seconds, on a machine that does other things too: beyond it, it waits for ever."""

PEAK_BYTES = 3 * 2**29
"""Most memory for one input, 1.5 GiB: an image of 64 million pixels in RGBA, and as much again to convert it."""

ADDRESS_BYTES = 16 * 2**30
"""What a child may map, so that a fault does not stop the machine."""

_SHOWN_FRAMES = 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """An input: either the number of one that is made, or bytes."""

    target: str
    number: int = -1
    data: bytes = b""
    name: str = ""

    def input(self, target: Target, seed: int) -> bytes:
        return made(target, seed, self.number) if self.number >= 0 else self.data


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An input that did what none may do."""

    case: Case
    what: str
    """In a line, the same for the same fault."""
    details: str = ""


def made(target: Target, seed: int, number: int) -> bytes:
    """The input of a number: the valid files first, then changed ones. It depends on nothing but these three."""
    if number < len(target.seeds):
        return target.seeds[number]
    random = Random(f"{target.name} {seed} {number}")
    data = mutated(random, random.choice(target.seeds), target.seeds, target.text)
    return target.fit(data) if random.random() < 0.7 else data


def saved(folder: Path, target: Target, data: bytes) -> Path:
    """Write an input where `--replay` finds it: in a folder of its target's name."""
    path = folder / target.name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def run_cases(
    targets: dict[str, Target], cases: Sequence[Case], seed: int, go_on: Callable[[], bool] = lambda: True
) -> Iterator[Failure | int]:
    """Each failure as it is found, and at the end the number of inputs that were run."""
    start = done = 0
    shared = mmap.mmap(-1, 8)
    while start < len(cases) and go_on():
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            os.close(read_end)
            _child(targets, cases, seed, start, shared, write_end, go_on)
        os.close(write_end)
        with os.fdopen(read_end) as lines:
            for line in lines:
                place, what, details = json.loads(line)
                yield Failure(case=cases[place], what=what, details=details)
        status = os.waitpid(child, 0)[1]
        (place,) = struct.unpack("q", shared[:])
        if status == 0:
            done += place - start
            break
        yield Failure(case=cases[place], what=_death(status))
        done += place + 1 - start
        start = place + 1
    yield done


def _child(
    targets: dict[str, Target],
    cases: Sequence[Case],
    seed: int,
    start: int,
    shared: mmap.mmap,
    write_end: int,
    go_on: Callable[[], bool],
) -> None:
    """Run cases from one on; does not return."""
    status = 1
    try:
        warnings.simplefilter("ignore")
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)  # libtiff and others tell there what is wrong with each input
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for name in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(name, signal.SIG_DFL)  # which ends the process, wherever it is
        place = start
        for place in range(start, len(cases)):
            if not go_on():
                break
            shared[:] = struct.pack("q", place)
            target = targets[cases[place].target]
            data = cases[place].input(target, seed)
            before = _memory_bytes("VmRSS")
            Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
            signal.setitimer(signal.ITIMER_PROF, CPU_S)
            signal.setitimer(signal.ITIMER_REAL, WALL_S)
            what, details = _outcome(target, data)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            peak = _memory_bytes("VmHWM") - before
            if not what and peak > PEAK_BYTES:
                what = f"{target.name}: it takes more than {PEAK_BYTES / 2**30:g} GiB"
                details = f"{peak:,} bytes"
            if what:
                os.write(write_end, (json.dumps([place, what, details]) + "\n").encode())
        else:
            place = len(cases)
        shared[:] = struct.pack("q", place)
        status = 0
    except BaseException:
        os.write(write_end, (json.dumps([place, "the fuzzer itself", traceback.format_exc()]) + "\n").encode())
    finally:
        os._exit(status)


def _outcome(target: Target, data: bytes) -> tuple[str, str]:
    """What an input does that none may do, "" for nothing, and where."""
    try:
        target.read(data)
        return "", ""
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [one for one in frames if "/tests/" not in one.filename and "site-packages" not in one.filename]
        place = ours[-1] if ours else frames[-1]
        where = f"{Path(place.filename).name}:{place.name}"
        shown = "".join(traceback.format_list(frames[-_SHOWN_FRAMES:]))
        return f"{target.name}: {type(error).__name__} in {where}", f"{shown}{type(error).__name__}: {str(error)[:500]}"


def _death(status: int) -> str:
    number = os.waitstatus_to_exitcode(status)
    if number == -signal.SIGPROF:
        return f"it takes more than {CPU_S:g} s of a CPU"
    if number == -signal.SIGALRM:
        return f"it hangs: it is not done after {WALL_S:g} s"
    return f"it ends the process, with status {number}"


def _memory_bytes(name: str) -> int:
    """A size of this process, as Linux tells it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024
