"""Makes the files of a release in dist/, `make release`: wheel, sdist, SBOM, licences of dependencies, SHA256SUMS.

make release                # of a commit that is tagged; refused unless all versions agree
make release DRAFT=1        # to see them before: of the last commit, whatever its tag
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from infra.release import dependencies, packages
from infra.release.versions import problems, problems_of_draft, version_of
from manifests.printing import say

ROOT = Path(__file__).parents[2]
SUMS = "SHA256SUMS"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a release's files; 0, or 2 with a line for each thing that is in its way."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m infra.release", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--draft", action="store_true", help="of the last commit, without a tag, a date or a clean tree"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder, emptied before (default: dist)")
    parser.add_argument("--packages-only", action="store_true", help="leave out the SBOM and licences (minutes)")
    asked = parser.parse_args(arguments)
    try:
        wrong = [*(problems_of_draft(ROOT) if asked.draft else problems(ROOT))]
        for line in wrong:
            say(f"make release: {line}", error=True)
        if wrong:
            return 2
        for file in release(asked.out, with_dependencies=not asked.packages_only):
            print(f"{file.stat().st_size:>12,}  {file}")
    except (ValueError, OSError) as error:
        say(f"make release: {error}", error=True)
        return 2
    print(f"{version_of(ROOT)}{', a draft: not to be published' if asked.draft else ''}")
    return 0


def release(out: Path, *, with_dependencies: bool = True) -> list[Path]:
    """Make the files of a release of the last commit in a folder, which holds nothing else then; the files.

    Raises ValueError if the folder holds what is no file of a release.
    """
    for there in sorted(out.iterdir()) if out.exists() else ():
        if not _is_ours(there):
            raise ValueError(f"{there} is no file of a release: move it away, or choose another folder")
    shutil.rmtree(out, ignore_errors=True)
    made = packages.build(ROOT, out)
    if with_dependencies:
        print("Installing what the package needs into an environment of its own (minutes) ...", flush=True)
        made += dependencies.describe(ROOT, out)
    (out / SUMS).write_text(sums(made), "utf-8")
    return [*made, out / SUMS]


def sums(files: Iterable[Path]) -> str:
    """The lines that `sha256sum --check SHA256SUMS` reads."""
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(files))


def _is_ours(file: Path) -> bool:
    packed = file.name.endswith((".whl", ".tar.gz")) or file.name == ".gitignore"
    return file.is_file() and (packed or file.name in (SUMS, dependencies.SBOM, dependencies.LICENCES))


if __name__ == "__main__":
    sys.exit(main())
