"""Feeds readers with inputs that are nearly right, and says which of them did what no input may make a reader do.

Every input must give a result, a reject, or an error of one line, in bounded time and memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.run import Case, Failure, run_cases, saved
from tests.fuzz.targets import Target, targets

_ROUND = 500
"""Inputs between two lines of progress, where a time is given."""


_COUNT = 2_000

_SHOWN = 3
"""Inputs that are named of those that show the same fault; all are saved."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        known = targets(Path(work))
        if wrong := sorted({*options.target} - known.keys()):
            print(f"there is no target {', '.join(wrong)}: there are {', '.join(known)}", file=sys.stderr)
            return 2
        chosen = {name: known[name] for name in options.target or known}
        found = _replayed(known, options.replay) if options.replay else []
        if options.replay and not (options.count or options.minutes):
            return _told(found, known, options)
        deadline_s = time.monotonic() + 60 * options.minutes if options.minutes else None
        first = done = 0
        while not done or (deadline_s and time.monotonic() < deadline_s):
            count = _ROUND if deadline_s else options.count or _COUNT
            cases = _cases(chosen, first, count)
            for one in run_cases(known, cases, options.seed, lambda: not deadline_s or time.monotonic() < deadline_s):
                if isinstance(one, int):
                    done += one
                else:
                    found.append(one)
            first += count
            if deadline_s:
                print(f"{done:,} inputs, {len(found)} of them fail", flush=True)
        print(f"{done:,} inputs in {len(chosen)} targets")
        return _told(found, known, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--minutes", type=float, help="how long to go on")
    much.add_argument("--count", type=int, help=f"how many inputs (default: {_COUNT:,}, none with --replay)")
    parser.add_argument("--replay", type=Path, nargs="+", help="inputs that were saved, or folders of them")
    parser.add_argument("--seed", type=int, default=0, help="another number, other inputs (default: %(default)s)")
    parser.add_argument("--target", action="append", default=[], help="only this one; may be given several times")
    parser.add_argument("--save", type=Path, default=Path("fuzz-failures"), help="a folder for inputs that fail")
    return parser


def _cases(chosen: dict[str, Target], first: int, count: int) -> list[Case]:
    """The inputs from a number on, each target by its weight."""
    turns = [name for name, target in chosen.items() for _ in range(target.weight)]
    numbers = Counter({name: first // len(turns) * target.weight for name, target in chosen.items()})
    cases = []
    for place in range(first, first + count):
        name = turns[place % len(turns)]
        cases.append(Case(target=name, number=numbers[name]))
        numbers[name] += 1
    return cases


def _replayed(known: dict[str, Target], paths: Sequence[Path]) -> list[Failure]:
    files = sorted(file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    cases = [Case(target=file.parent.name, data=file.read_bytes(), name=str(file)) for file in files]
    if strange := [case.name for case in cases if case.target not in known]:
        raise SystemExit(f"{strange[0]} is in no folder of a target's name: {', '.join(known)}")
    results = list(run_cases(known, cases, 0))
    print(f"{results[-1]:,} inputs replayed")
    return [one for one in results if isinstance(one, Failure)]


def _told(found: Sequence[Failure], known: dict[str, Target], options: argparse.Namespace) -> int:
    """Print failures by what they are, and how to replay each; 1 if there are any."""
    by_fault: dict[str, list[Failure]] = {}
    for failure in found:
        by_fault.setdefault(failure.what, []).append(failure)
    for what, failures in by_fault.items():
        print(f"\n{what} ({len(failures)} inputs)\n{failures[0].details}")
        for number, failure in enumerate(failures):
            case, target = failure.case, known[failure.case.target]
            path = case.name or saved(options.save, target, case.input(target, options.seed))
            if number < _SHOWN:
                print(f"  python -m tests.fuzz --replay {path}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
