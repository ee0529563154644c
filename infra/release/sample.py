"""A sample dataset that may be published, `make sample`: five tasks over photos under CC0, and their page.

    sample/datasets/<task>/    the datasets, as `xprompt shards` makes them
    sample/page/index.html     some of their pairs to look at, as `xprompt browse --share` writes it
    sample/README.md           whose photos they are, and under which terms

The photos come with scikit-image, whose documentation says of each who made it and that it is under CC0. What has no
model in its chain can be shared under the same terms: the degraded pictures are computed of the photos alone. The same
versions of libraries write the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from manifests.browse.share import share
from manifests.dataset import find_datasets
from manifests.printing import say
from manifests.verify.dataset import verify
from manifests.write.finish import finish
from operators.read.bundled import PHOTOS, BundledPhotos
from pipelines.run.plan import make_job, versions
from pipelines.run.spent import Spent
from pipelines.run.unit import make_unit
from pipelines.tasks.low_level import DEBLUR, DENOISE, DERAIN, LOWLIGHT, RETOUCH

TASKS = (DENOISE, DEBLUR, DERAIN, LOWLIGHT, RETOUCH)

CC0: Mapping[str, str] = {
    "skimage/data/brick.png": "CC0Textures, Bricks25",
    "skimage/data/camera.png": "Lav Varshney",
    "skimage/data/chelsea.png": "Stefan van der Walt",
    "skimage/data/coffee.png": "Rachel Michetti",
    "skimage/data/grass.png": "linolafett, Grass 01",
    "skimage/data/gravel.png": "CC0Textures, Gravel04",
}
"""Photo -> who gave it away, by the docstring of its function in skimage.data (0.26). Of the bundled photos these are
under CC0 and of no face: astronaut and rocket are in the public domain otherwise, china and flower under CC-BY-2.0."""


@dataclass(frozen=True, kw_only=True)
class Cc0Photos(BundledPhotos):
    """Crops of the photos that are under CC0."""

    source: ClassVar[str] = "scikit-image photos"
    licence: ClassVar[str] = "CC0-1.0"
    photos: tuple[str, ...] = tuple(CC0)
    crops_per_photo: int = 8


def make_sample(out: Path, reader: Cc0Photos | None = None) -> list[str]:
    """Make the datasets and the page below a folder, or go on with them, and check them; a line for each finding.

    Raises ValueError, one line, if the folder holds datasets of another configuration, or a page that is not ours.
    """
    reader = reader or Cc0Photos()
    assert all(PHOTOS[photo] == Cc0Photos.licence for photo in reader.photos), "only what is under CC0 is published"
    datasets = out / "datasets"
    for task in TASKS:
        job = make_job(task, reader, str(datasets / task.name), seed=0)
        for unit in range(job.plan.units):
            make_unit(job, unit, Spent())
        finish(job.dataset, job.plan, versions=versions(task), licences={reader.source: reader.licence})
    (out / "README.md").write_text(_readme(reader), "utf-8")
    found = [f"{finding.file}: {finding.message}" for finding in verify(str(datasets))]
    return [*found, *share(str(datasets), out / "page")]


def _readme(reader: Cc0Photos) -> str:
    """What is said of the sample beside it."""
    table = [f"| {photo} | {CC0[photo]} | {PHOTOS[photo]} |" for photo in reader.photos]
    return "\n".join(
        [
            "# Sample of the X-Prompt data engine",
            "",
            "Degraded and clean crops of six photos, as `xprompt shards` writes them; made by `make sample`.",
            "All of it is under CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/): use it as you like.",
            "",
            "| photo of scikit-image | given away by | licence |",
            "|---|---|---|",
            *table,
            "",
            "`datasets/` has a dataset a task (`xprompt verify datasets` checks it), `page/index.html` shows some.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the sample; 0, 1 if something is wrong with it, 2 if it cannot be made there."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m infra.release.sample", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=Path("sample"), help="folder (default: sample)")
    out = parser.parse_args(arguments).out
    try:
        wrong = make_sample(out)
    except (ValueError, OSError) as error:
        say(f"make sample: {error}", error=True)
        return 2
    for line in wrong:
        say(f"make sample: {line}", error=True)
    counts = [dataset.counts() for dataset in find_datasets(str(out / "datasets"))]
    pairs, rejects = (sum(count[name] for count in counts) for name in ("pairs", "rejects"))
    print(f"{len(counts)} datasets, {pairs:,} pairs, {rejects:,} rejects in {out}/datasets; {out}/page/index.html")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
