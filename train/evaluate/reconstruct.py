"""What the VQ tokenizer alone loses, the paper's Tab. 5: `xprompt reconstruct --vqgan CHECKPOINT --images FOLDER`.

Each image is made into codes and back at each resolution, and compared with the square that was made into codes
(operators/shared/square.py): so both have the resolution's size, and a score says nothing of how the image was scaled.
The paper does not say which size it compared. A model cannot restore an image better than that.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from manifests.dataset import Dataset
from manifests.images.pixels import Pixels
from manifests.printing import say
from manifests.storage import is_hidden, spelled_out
from manifests.text_files import file_to_write
from operators.shared.metrics import psnr_db, ssim_rgb
from operators.shared.square import square
from train.evaluate.intervals import RESAMPLES, SHARE, Sums, with_interval
from train.evaluate.predictions import Malformed, decode

if TYPE_CHECKING:
    from xprompt_model.vqgan import VQGAN

RESOLUTIONS_PX = (512, 1024)
"""Those of Tab. 5."""

_PUBLISHED = {512: (26.34, 0.805), 1024: (29.77, 0.906)}
"""PSNR (dB) and SSIM of Chameleon's tokenizer in Tab. 5, by resolution."""

_ENDINGS = (".avif", ".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass(kw_only=True)
class Reconstructed:
    """The scores of a tokenizer at one resolution, image by image."""

    resolution_px: int
    psnr_db: dict[str, float] = field(default_factory=dict)
    ssim: dict[str, float] = field(default_factory=dict)
    """Mean over the channels, as restoration papers report it."""

    def row(self) -> str:
        """The means over the images with their confidence intervals, as a row of a Markdown table."""
        cells = (_cell(values, decimals) for values, decimals in ((self.psnr_db, 2), (self.ssim, 3)))
        return f"| {self.resolution_px} | {' | '.join(cells)} | {len(self.psnr_db):,} |"


def _cell(values: Mapping[str, float], decimals: int) -> str:
    mean = Sums.mean([*values.values()])
    return with_interval(mean.value(), mean.interval(), decimals)


def reconstruct(vqgan: VQGAN, pixels: Pixels, resolution_px: int) -> tuple[Pixels, Pixels]:
    """The square of an image, H x W x 3, and what its codes are decoded to, both of sides `resolution_px`.

    Raises ValueError for a resolution that is no multiple of `VQGAN.pixels_per_code`, or a tokenizer without decoder.
    """
    seen = square(pixels, resolution_px)
    return seen, vqgan.picture(vqgan.tokenize(seen, resolution_px))


def main(arguments: Sequence[str] | None = None, prog: str = "xprompt reconstruct") -> int:
    """Reconstruct as the arguments say; `prog` is the command as the user typed it.

    Returns the exit status: 0, 1 if an image cannot be read, 2 with one line if it cannot do what was asked.
    """
    options = _parser(prog).parse_args(arguments)
    from xprompt_model.vqgan import VQGAN  # with torch, which the help does without

    problems: list[str] = []
    try:
        vqgan = VQGAN.load(options.vqgan, device=options.device)
        reports = [Reconstructed(resolution_px=resolution) for resolution in options.resolution]
        for name, data in _images(options):
            try:
                pixels = decode(data)
            except Malformed as malformed:
                problems.append(f"{name}: {malformed}")
                continue
            for report in reports:
                seen, made = reconstruct(vqgan, pixels, report.resolution_px)
                report.psnr_db[name], report.ssim[name] = psnr_db(made, seen), ssim_rgb(made, seen)
                if options.out:
                    _write(options.out, name, report.resolution_px, made)
        if not problems and not reports[0].psnr_db:
            raise ValueError(f"{options.images or options.dataset} has no image")
        if options.json:
            options.json.write_text(json.dumps([vars(report) for report in reports], indent=1) + "\n", "utf-8")
    except (ValueError, OSError) as error:
        say(f"{prog}: {' '.join(str(error).split())}", error=True)
        return 2
    print("\n".join(["| px | PSNR (dB) ↑ | SSIM ↑ | images |", "|---|---|---|---|", *(one.row() for one in reports)]))
    print(f"\nIn parentheses: {SHARE:.0%} confidence intervals, by {RESAMPLES:,} resamples of the images.")
    for side_px, (psnr, ssim) in _PUBLISHED.items():
        if any(one.resolution_px == side_px for one in reports):
            print(f"The paper's Tab. 5 at {side_px:,} px, of Rain100L: {psnr} dB, {ssim}.")
    for problem in problems:
        say(problem, error=True)
    return 1 if problems else 0


def _images(options: argparse.Namespace) -> Iterator[tuple[str, bytes]]:
    """Names and files of the images that are asked for, in order."""
    if options.dataset:
        for pair in Dataset(options.dataset).pairs():
            try:
                yield f"{pair.key}.{options.role}", pair.image_bytes(options.role)
            except KeyError as error:
                raise ValueError(f"{options.dataset}: {error.args[0]}") from None
        return
    if not options.images.is_dir():
        raise ValueError(f"{options.images} is not a folder")
    for path in sorted(options.images.rglob("*")):
        name = path.relative_to(options.images)
        if path.suffix.lower() in _ENDINGS and not any(map(is_hidden, name.parts)):
            yield spelled_out(str(name)), path.read_bytes()


def _write(folder: Path, name: str, resolution_px: int, pixels: Pixels) -> None:
    from PIL import Image

    path = folder / str(resolution_px) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _side_px(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of pixels")
    return int(text)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog=prog, description="Say what the VQ tokenizer alone loses (Tab. 5)."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", type=Path, help="folder of images, with those in its folders")
    what.add_argument("--dataset", help="a dataset directory")
    parser.add_argument("--role", default="target", help="which images of the dataset's pairs (default: %(default)s)")
    parser.add_argument("--vqgan", type=Path, required=True, help="Meta's vqgan.ckpt, or a model directory with it")
    parser.add_argument(
        "--resolution",
        type=_side_px,
        nargs="+",
        default=RESOLUTIONS_PX,
        help="sides of the square, px (default: 512 1024, the paper's)",
    )
    parser.add_argument("--out", type=Path, help="write what was reconstructed to <out>/<resolution>/<image>.png")
    parser.add_argument("--device", default="cpu", help="where the tokenizer runs (default: %(default)s)")
    parser.add_argument("--json", type=file_to_write, help="write the scores of each image here")
    return parser
