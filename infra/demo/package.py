"""Puts what `xprompt demo --out DIR --from-scratch` trained into the package, as what the demo starts from otherwise.

    OMP_NUM_THREADS=1 xprompt demo --out DIR --from-scratch && python -m infra.demo.package DIR

On one thread the bytes repeat. Weights are halved to two bytes each. It prints how much of photos that it never saw the
tokenizer keeps.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from infra.demo.command import PACKAGED
from infra.demo.model import write_halved
from infra.demo.tokenizer import held_out_psnr_db
from xprompt_model.vqgan import CHECKPOINT_FILE, VQGAN


def package(demo: Path, folder: Path = PACKAGED) -> None:
    """Replace `folder` by the model of a demo's folder.

    Raises ValueError if that demo is unfinished or did not train from scratch: then nothing is replaced.
    """
    trained, tokenizer = demo / "run" / "model", demo / "tokenizer" / CHECKPOINT_FILE
    for needed in (trained, tokenizer):
        if not needed.exists():
            raise ValueError(f"there is no {needed}: run xprompt demo --out {demo} --from-scratch to its end")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    write_halved(trained, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


if __name__ == "__main__":
    try:
        package(Path(sys.argv[1]))
    except ValueError as error:
        sys.exit(f"infra.demo.package: {error}")
    for name, value in held_out_psnr_db(VQGAN.load(PACKAGED)).items():
        print(f"{Path(name).name} {value:.1f} dB")
