"""The steps of the demo, each of which is left out where its result is there already."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from infra.demo.command import PACKAGED, Options
from infra.demo.model import XP_TOKENS, write_start
from infra.demo.pictures import HELD_OUT, TRAINED, crop, drawn
from infra.demo.sheet import Answer, draw_sheet, table
from infra.demo.tokenizer import DECODER_STEPS, SIDE_PX, STEPS, train
from manifests.dataset import Dataset
from manifests.images.pixels import Pixels, decode_rgb
from pipelines.run.session import ray_session
from pipelines.tasks.catalogue import find_task
from train.evaluate.predictions import examples
from xprompt_model.vqgan import CHECKPOINT_FILE, VQGAN

_SEED = 11
_DRAWN_EVERY = 4
"""Every so many pictures to train on one is generated; the others are crops of photos."""
_OTHER_COLOURS = 0.5
"""The share of those crops whose colours change places: six of the photos have colours, and these are mostly browns."""

_WINDOW_TOKENS = 384
"""A document has four images of 66 tokens, two instructions and the X-Prompt: 350 at most."""

Run = Callable[[Sequence[str]], int]


class _Failed(Exception):
    """A command ended with a status other than 0."""


def run_all(options: Options, run: Run) -> int:
    """From photos to the sheet. Returns 0, or the status of the command that failed.

    Raises ValueError or OSError for what is not a command's.
    """

    def must(*arguments: str) -> None:
        if status := run(arguments):
            raise _Failed(status)

    out = options.out
    names = {task: find_task(task).name for task in options.tasks}
    _write_photos(options)
    models = out / "models"
    with _timed("the model that training starts from"):
        _write_model(models / "chameleon", options)
    made = [
        (task, str(out / photos), out / data)
        for task, name in names.items()
        for photos, data in (("photos", "data"), ("photos-held-out", "data-held-out"))
        if not (out / data / name / "dataset.json").is_file()
    ]
    try:
        with (
            _timed("datasets and tokens"),
            ray_session(options.cpus) if made else nullcontext(),  # one for all, which each would start for itself
        ):
            for task, photos, data in made:
                must("shards", task, "--data", photos, "--out", str(data))
            for task in names:
                must("tokens", task, "--models", str(models), "--out", str(out / "data"))
        with _timed("training"):
            must("train", *_training(options, [str(out / "data" / name) for name in names.values()]))
        trained = out / "run" / "model"
        with _timed("answers"):
            answers = _answers(out, trained, [*names.values()], must)
    except _Failed as failed:
        return int(failed.args[0])
    draw_sheet(out / "sheet.png", answers, options.rows)
    print(f"\n{table(answers)}\n\n{out / 'sheet.png'}")
    return 0


@contextmanager
def _timed(what: str) -> Iterator[None]:
    """Say how long something took, and how much of it this process computed."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    yield
    wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
    print(f"({what}: {wall_s:,.0f} s, of which this process computed {cpu_s:,.0f} CPU seconds)", flush=True)


def _write_photos(options: Options) -> None:
    """Crops of photos, and generated pictures, as files: what a user's own folder of photos would be."""
    trained, held_out = list(TRAINED), list(HELD_OUT)
    for folder, count in (("photos", options.photos), ("photos-held-out", options.held_out)):
        path = options.out / folder
        path.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            file = path / f"{index:04}.png"
            random = np.random.default_rng([_SEED, int(folder == "photos"), index])
            if folder == "photos-held-out":
                pixels = crop(held_out[index % len(held_out)], SIDE_PX, random)
            elif index % _DRAWN_EVERY == 0:
                pixels = drawn(SIDE_PX, random)
            else:
                pixels = crop(trained[index % len(trained)], SIDE_PX, random)
                if random.random() < _OTHER_COLOURS:
                    pixels = np.ascontiguousarray(pixels[..., random.permutation(3)])
            if not file.is_file():
                PILImage.fromarray(pixels).save(file)
        print(f"{count} pictures of {SIDE_PX} px in {path}")


def _write_model(folder: Path, options: Options) -> None:
    """The model directory that training starts from."""
    if folder.is_dir():
        return
    if not options.from_scratch:
        partial = folder.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(PACKAGED, partial)
        partial.rename(folder)
        print(f"the packaged tokenizer and model, copied to {folder}")
        return
    file = options.out / "tokenizer" / CHECKPOINT_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        steps = options.tokenizer_steps or STEPS
        train(file, steps=steps, decoder_steps=round(steps * DECODER_STEPS / STEPS))
    print(f"a model that knows nothing, around the tokenizer {file}: {write_start(folder, file)}")


def _training(options: Options, data: Sequence[str]) -> list[str]:
    """The arguments of `xprompt train`: a document of the demo has some 320 tokens, and all are about images."""
    return [
        *("--data", *data, "--model", str(options.out / "models/chameleon"), "--out", str(options.out / "run")),
        *("--steps", str(options.steps), "--warmup-steps", str(max(1, options.steps // 20))),
        *("--lr", "2e-3" if options.from_scratch else "3e-4", "--xp-tokens", str(XP_TOKENS)),
        *("--window-tokens", str(_WINDOW_TOKENS), "--windows", "2", "--global-windows", "8"),
        *("--context-image-weight", "1", "--sampling", "*/*/describe=0", "*/reverse/*=0"),
        *("--checkpoint-every", "50"),
    ]


def _answers(out: Path, model: Path, tasks: Sequence[str], must: Callable[..., None]) -> list[Answer]:
    """The model's answers to pairs of photos that it has never seen: each after an example of the task that it was
    trained on, after an example of another task, and after none.
    """
    digest = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()[:12]
    answers, shown, asked = out / "answers" / digest, out / "data", out / "data-held-out"

    def predict(dataset: Path, folder: str, *contexts: str) -> None:
        greedy = ("--temperature", "0", "--guidance", "1", "--image-guidance", "1")
        of = ("--dataset", str(dataset), "--model", str(model), "--out", str(answers / folder))
        must("predict", *of, "--contexts", *contexts, *greedy)

    predict(asked, "own", "seeded", "--contexts-from", str(shown))
    for task, other in zip(tasks, (*tasks[1:], tasks[0]), strict=True):
        predict(asked / task, f"other/{task}", "seeded", "--contexts-from", str(shown / other))
    predict(asked, "none", "none")
    vqgan, found = VQGAN.load(model), []
    for task in tasks:
        training = Dataset(str(shown / task))
        for example in examples(Dataset(str(asked / task)), "forward"):
            own = answers / "own" / example.file
            context, truth = training[_context(own)], example.image(example.output)
            found.append(
                Answer(
                    task=task,
                    context_in=context.image("input"),
                    context_out=context.image("target"),
                    query=example.image(example.inputs[0]),
                    answer=_pixels(own),
                    after_other=_pixels(answers / "other" / task / example.file),
                    after_none=_pixels(answers / "none" / example.file),
                    bound=vqgan.picture(vqgan.tokenize(truth)),
                    truth=truth,
                )
            )
    return found


def _context(file: Path) -> str:
    """The pair that a prediction was made after."""
    with PILImage.open(file) as image:
        (context,) = json.loads(image.info["xprompt"])["contexts"]
    return str(context["pair"])


def _pixels(file: Path) -> Pixels:
    return decode_rgb(file.read_bytes())
