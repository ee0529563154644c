"""The engine on one GPU with networks of the real widths: `python -m infra.bench.gpu_paint`. Ten minutes at most.

`style`, `pose` and `editing` are made as `xprompt shards` makes them, by the engine on Ray with painters, from random
weights of the published shapes with fewer blocks (infra/bench/shaped.py); the vision-language model is a server here
that says the same to all. Each dataset is made twice, into two folders, and the sha256 of all files are compared. Then
each pipeline makes a picture in this process, in which each call of each network is timed.

Nothing is downloaded. What it imports beside PyTorch for CUDA and what comes with that (torchvision, transformers,
accelerate, safetensors, tokenizers, timm, regex, onnx, onnxruntime, OpenCV, scikit-image, SciPy, PyArrow, fsspec, h5py,
huggingface_hub, einops, rich, click, protobuf) is in these wheels, which a machine without a network is to be given:

    ray msgpack jsonschema jsonschema-specifications referencing rpds-py fpng diffusers open_clip_torch ftfy wcwidth
    controlnet-aux openai httpx2 httpcore2 truststore jiter sniffio pydantic pydantic_core annotated-types
    typing-inspection

    pip download --no-deps --only-binary=:all: --python-version 3.12 -d WHEELS NAME==VERSION ...    (requirements.lock)
    pip install --no-index --no-deps --target SITE WHEELS/*.whl
    PYTHONPATH=SITE PYTHONUNBUFFERED=1 python -m infra.bench.gpu_paint

`--one-step` measures RB-Modulation alone, with all its blocks, which are 14 GiB of checkpoints to write first: a step
of stage C with its control, one of stage B, and stage A, with and without a content reference, in seconds and GiB.

Ray's wheel alone is 76 MiB. It has not been run on a GPU, nor with older releases than pyproject.toml asks for: where a
machine has such, say so beside the figures. `--shapes tiny --steps 2 --pairs 2` rehearses it on a CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from manifests.images.pixels import Pixels
from manifests.write.finish import finish
from operators.base import Link
from operators.models.rb.parameters import STAGE_B, Sampling, StageCSampling
from operators.models.table import Part
from operators.paint.best_edit import BestEdit
from operators.paint.flux import Flux
from operators.paint.rb_modulation import RbModulation
from operators.read.persons import GROUP
from pipelines.prepare import prepare
from pipelines.report.progress import painting_lines
from pipelines.run import engine
from pipelines.run.made import Made
from pipelines.run.painter import Delivered
from pipelines.run.plan import Job, make_job, versions
from pipelines.run.session import ray_session
from pipelines.run.spent import Spent
from pipelines.run.stages import Need, gpu_stages
from pipelines.run.watch import Painting, Watch
from pipelines.tasks.editing import EDITING
from pipelines.tasks.personalisation import POSE, STYLE
from pipelines.tasks.task import Task

PAIRS = {"style": 4, "pose": 8, "editing": 2}
"""Pairs of each dataset; of pose they come in groups."""

SIDE_PX = {"real": 1024, "tiny": 128}
"""Side of the photos that are edited, and of the persons'."""

_SAID = {
    1: "Instruction: Light it.\nBefore: A dark scene.\nAfter: A bright scene.\nWhere: 250, 250, 750, 750",
    2: json.dumps(
        {
            "differences": "The output is brighter.",
            "reverse_differences": "The input is darker.",
            "subtask": "Object Modification",
            "reverse_prompt": "Make it darker.",
        }
    ),
}
"""What the server says to a question about so many images: those of ProposeEdit and of Difference."""

_SAMPLE_MS = 200


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What nvidia-smi says of the GPU at a time."""

    at_s: float
    busy: float
    """Share of the last moments in which a kernel ran."""
    used_gib: float


@dataclass(kw_only=True)
class Card:
    """The GPU: its name, its memory, and what nvidia-smi has said of it since sampling began."""

    name: str
    gib: float
    samples: list[Sample] = field(default_factory=list)

    def between(self, start_s: float, end_s: float) -> tuple[float, float]:
        """Share of the time in which a kernel ran; the most memory that was taken beyond what was at first, GiB."""
        seen = [sample for sample in self.samples if start_s <= sample.at_s <= end_s]
        if not seen:
            return 0.0, 0.0
        used_gib = [sample.used_gib for sample in seen]
        return statistics.fmean(sample.busy for sample in seen), max(used_gib) - used_gib[0]


@dataclass(kw_only=True)
class Ran:
    """A dataset that was made."""

    job: Job
    began_s: float
    ended_s: float
    pairs: int
    spent: Spent
    paintings: list[Painting]
    sha256: Mapping[str, str]


@dataclass(kw_only=True)
class Clock:
    """Seconds in methods of objects, by label, and how often they were called."""

    seconds: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def on(self, thing: Any, method: str, label: str) -> Iterator[None]:
        """While open, count the calls of a method; the GPU is waited for before and after each."""
        called = getattr(thing, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.at(label):
                return called(*args, **kwargs)

        setattr(thing, method, timed)
        try:
            yield
        finally:
            delattr(thing, method)

    @contextmanager
    def at(self, label: str) -> Iterator[None]:
        """Count the block."""
        _wait_for_gpu()
        began_s = time.perf_counter()
        yield
        _wait_for_gpu()
        self.seconds[label] = self.seconds.get(label, 0.0) + time.perf_counter() - began_s
        self.calls[label] = self.calls.get(label, 0) + 1

    def told(self) -> str:
        """One line: the whole, then each part with its calls, then what no part had."""
        parts = [(label, seconds) for label, seconds in self.seconds.items() if label != "all"]
        words = [
            f"{label} {seconds:.3f}"
            + (
                f" ({self.calls[label]} x {1_000 * seconds / self.calls[label]:.1f} ms)"
                if self.calls[label] > 1
                else ""
            )
            for label, seconds in parts
        ]
        rest = self.seconds["all"] - sum(seconds for _, seconds in parts)
        return f"{self.seconds['all']:.3f} s: " + ", ".join([*words, f"the rest {rest:.3f}"])


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    os.environ.setdefault("OPENAI_API_KEY", "none")
    started_s = time.monotonic()
    with ExitStack() as open_now:
        folder = Path(options.folder or open_now.enter_context(tempfile.TemporaryDirectory(prefix="paint-")))
        card = open_now.enter_context(_sampled())
        print(
            f"{card.name}, {card.gib:.1f} GiB" if card else "no GPU: what follows is a rehearsal on a CPU", flush=True
        )
        parts, models = _write(folder, options, card)
        if options.one_step:
            _print_pictures(_one_step(Path(models), SIDE_PX[options.shapes]))
            print(f"all in {time.monotonic() - started_s:.0f} s", flush=True)
            return 0
        url = open_now.enter_context(_server())
        same = []
        with ray_session(options.cpus):
            for name in options.tasks:
                task, given = _task(name, folder, options, url)
                made = [_make(task, given, folder / run, models, card) for run in ("first", "second")]
                _print(made[0], parts, card)
                same.append(made[0].sha256 == made[1].sha256)
                files = len(made[0].sha256)
                print(f"  twice: {files} files, {'the same' if same[-1] else 'NOT THE SAME'} sha256", flush=True)
        _print_parts(Path(models), options, card)
    print(f"all in {time.monotonic() - started_s:.0f} s", flush=True)
    return 0 if all(same) else 1


def need_as_written(need: Need, parts: Sequence[Part]) -> Need:
    """What stages.need_of says for the published models, for the parameters that the written ones have.

    DWPose is not among them: onnxruntime runs the tiny one on a CPU.
    """
    written = {part.name: part for part in parts}
    return replace(need, parts=tuple(written[part.name] for part in need.parts if part.name in written))


def read_sample(line: str, at_s: float) -> Sample:
    """A line of nvidia-smi: utilisation in percent, memory in MiB."""
    busy, used = (float(value) for value in line.split(","))
    return Sample(at_s=at_s, busy=busy / 100, used_gib=used / 1024)


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of each file below a dataset's folder, but of the answers', which are kept in the order they came."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "responses"
    }


def photo(seed: int, side_px: int) -> Pixels:
    """Warm blocks on grey, in which the tiny DWPose finds somebody."""
    random = np.random.default_rng(seed)
    blocks = np.full((8, 8, 3), 120, np.uint8)
    blocks[2:7, 2:6] = random.integers((200, 60, 10), (256, 140, 60), (5, 4, 3))
    return np.asarray(cv2.resize(blocks, (side_px, side_px), interpolation=cv2.INTER_CUBIC), np.uint8)


def _write(folder: Path, options: argparse.Namespace, card: Card | None) -> tuple[tuple[Part, ...], str]:
    """Write checkpoints and photos; the parts of the checkpoints, and their folder."""
    # The models' libraries take many seconds to import.
    from infra.bench.shaped import PUBLISHED, ROLES, Depth, write_shaped

    began_s, models, shapes = time.monotonic(), folder / "models", options.shapes
    depth, roles = (PUBLISHED, RbModulation.loads) if options.one_step else (Depth(), ROLES)
    parts = write_shaped(models, depth if shapes == "real" else None, "cuda" if card else "cpu", roles)
    if card:
        import torch

        torch.cuda.empty_cache()  # so that it does not count as the painters'
    size = sum(file.stat().st_size for file in models.rglob("*.safetensors"))
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    for seed in range(max(PAIRS.values())):
        cv2.imwrite(str(photos / f"{seed:04d}.png"), photo(seed, SIDE_PX[shapes])[..., ::-1])
    print(f"checkpoints written: {size / 2**30:.2f} GiB in {time.monotonic() - began_s:.0f} s", flush=True)
    return parts, str(models)


def _task(name: str, folder: Path, options: argparse.Namespace, url: str) -> tuple[Task, dict[str, Any]]:
    """The task, sampled in the steps that are asked for, and its options."""

    def quick(link: Link) -> Link:
        if isinstance(link, Flux):
            return replace(link, steps=options.steps or link.steps)
        if isinstance(link, RbModulation):
            steps = min(options.steps or link.sampling.steps, link.sampling.steps)
            return replace(link, sampling=replace(link.sampling, steps=steps))
        if isinstance(link, BestEdit) and options.steps:
            kontext, fill = (replace(one, steps=options.steps) for one in (link.kontext, link.fill))
            return replace(link, kontext=kontext, fill=fill)
        return link

    if name == "style":
        return STYLE.changed(quick), {"count": options.pairs or PAIRS[name]}
    photos = folder / f"photos-{name}"
    photos.mkdir(exist_ok=True)
    wanted = -(-(options.pairs or PAIRS[name]) // (GROUP if name == "pose" else 1))
    for path in sorted((folder / "photos").iterdir())[:wanted]:
        (photos / path.name).write_bytes(path.read_bytes())
    if name == "pose":
        return POSE, {"data": str(photos), "generator": "flux", "estimator": "dwpose"}
    # Contexts are chosen without an embedding of texts, whose package would have to be there too.
    task = replace(EDITING.changed(quick), context="seeded")
    return task, {"data": str(photos), "vlm": url, "vlm_model": "scripted"}


def _make(task: Task, given: Mapping[str, Any], out: Path, models: str, card: Card | None) -> Ran:
    """Make a dataset by the engine, on the Ray that runs."""
    prepared = prepare(task, {**given, "models": models, "keep": "all"})
    job = make_job(prepared.task, prepared.reader, str(out / task.name), 0)
    spent, pairs, paintings = Spent(), [0], list[Painting]()

    def on_made(job: Job, made: Made) -> None:
        spent.add(made.spent)
        pairs[0] += made.commit.pairs

    def on_delivered(job: Job, delivered: Delivered) -> None:
        spent.add(delivered.spent)

    def on_tick(now: Sequence[Painting]) -> None:
        paintings[:] = now

    began_s = time.monotonic()
    engine.run([job], Watch(on_made=on_made, on_delivered=on_delivered, on_tick=on_tick), card.gib if card else None)
    finish(job.dataset, job.plan, versions=versions(job.task), licences={job.reader.source: job.reader.licence})
    return Ran(
        job=job,
        began_s=began_s,
        ended_s=time.monotonic(),
        pairs=pairs[0],
        spent=spent,
        paintings=paintings,
        sha256=hashes(out / task.name),
    )


def _print(ran: Ran, parts: Sequence[Part], card: Card | None) -> None:
    """What a dataset cost."""
    job = ran.job
    print(f"{job.task.name}: {ran.pairs} of {job.plan.items} pairs in {ran.ended_s - ran.began_s:.1f} s")
    for painting in ran.paintings:
        for line in painting_lines(painting):
            print(f"  {line}")
    each = max(1, job.plan.items)
    steps = [
        f"{name} {(seconds - ran.spent.loading_s[name]) / each:.2f}"
        + (f" + {ran.spent.loading_s[name]:.1f} once to load" if ran.spent.loading_s[name] else "")
        for name, seconds in ran.spent.seconds.items()
    ]
    stored_s = ran.spent.units_s - sum(ran.spent.seconds.values())
    print(f"  seconds a pair: {', '.join([*steps, f'stored and the rest {stored_s / each:.2f}'])}")
    stages = gpu_stages(job.task.operators(job.reader), card.gib if card else None)
    for stage in stages:
        need = need_as_written(stage.need, parts)
        weights = sum(part.gib for part in need.parts)
        print(
            f"  need_of: {need.gib:.1f} GiB of these shapes ({weights:.1f} weights, {need.working_gib:.1f} to work in)"
            f"; {stage.need.gib:.1f} of the published ones"
        )
    if card:
        busy, peak_gib = card.between(ran.began_s, ran.ended_s)
        print(f"  nvidia-smi: {busy:.0%} busy, {peak_gib:.1f} GiB at the most", flush=True)


def _print_parts(models: Path, options: argparse.Namespace, card: Card | None) -> None:
    """Seconds of a picture by network, of each pipeline, in this process."""
    side_px = SIDE_PX[options.shapes]
    pictures: dict[str, Callable[[Clock], None]] = {
        "style": lambda clock: _by_flux(clock, "FluxPipeline", models / "flux", options, {}),
        "pose": lambda clock: _by_flux(
            clock,
            "FluxControlNetPipeline",
            models / "flux",
            options,
            {"control_image": photo(0, side_px)},
            models / "flux-controlnet-pose",
        ),
        "editing": lambda clock: _by_flux(
            clock, "FluxKontextPipeline", models / "flux-kontext", options, {"image": photo(0, side_px)}
        ),
        "editing by Fill": lambda clock: _by_flux(
            clock,
            "FluxFillPipeline",
            models / "flux-fill",
            options,
            {"image": photo(0, side_px), "mask_image": np.full((side_px, side_px, 3), 255, np.uint8)},
        ),
        "style by RB-Modulation": lambda clock: _by_rb_modulation(clock, models, options),
    }
    _print_pictures({name: paint for name, paint in pictures.items() if name.split()[0] in options.tasks})


def _print_pictures(pictures: Mapping[str, Callable[[Clock], None]]) -> None:
    """Seconds of each of several pictures by network, and the memory that its making takes."""
    print("a picture by part, seconds; the second of its kind, but what is loaded:")
    for name, paint in pictures.items():
        for again in (False, True):
            clock = Clock()
            _forget_peak()
            paint(clock)
            if again:
                peak_gib, working_gib = _peak_gib()
                print(f"  {name} {clock.told()}, {working_gib:.1f} GiB to work in, {peak_gib:.1f} in all", flush=True)
            else:
                print(f"  {name}: loading {clock.seconds.get('loading', 0.0):.2f} s", flush=True)


def _by_flux(
    clock: Clock,
    kind: str,
    folder: Path,
    options: argparse.Namespace,
    images: Mapping[str, Pixels],
    control: Path | None = None,
) -> None:
    from operators.models.diffusion import Denoising, Order, painted, pipeline, with_controlnet

    with clock.at("loading"):
        pipe = pipeline("FluxPipeline" if control else kind, str(folder))
        if control:
            pipe = with_controlnet(kind, pipe, "FluxControlNetModel", str(control))
    loading_s, side_px = clock.seconds.pop("loading"), SIDE_PX[options.shapes]
    order = Order(prompt="a red house by the sea", seed=1, size_px=(side_px, side_px), images=images)
    given: dict[str, Any] = {"control_mode": 4} if control else {}
    if kind == "FluxKontextPipeline":
        given |= {"max_area": side_px**2, "_auto_resize": False}
    timed = [
        (pipe.text_encoder, "forward", "CLIP"),
        (pipe.text_encoder_2, "forward", "T5"),
        (pipe.vae, "encode", "VAE encodes"),
        (pipe.transformer, "forward", "transformer"),
        (pipe.vae, "decode", "VAE decodes"),
        *([(pipe.controlnet, "forward", "ControlNet")] if control else []),
    ]
    with ExitStack() as timing:
        for thing, method, label in timed:
            timing.enter_context(clock.on(thing, method, label))
        with clock.at("all"):
            painted(pipe, [order], 1, Denoising(steps=options.steps or 28, guidance=3.5), **given)
    clock.seconds["loading"], clock.calls["loading"] = loading_s, 1
    clock.seconds["all"] += loading_s


def _by_rb_modulation(clock: Clock, models: Path, options: argparse.Namespace) -> None:
    steps = StageCSampling().steps
    sampling = StageCSampling(steps=min(options.steps or steps, steps))
    _by_cascade(clock, models, SIDE_PX[options.shapes], sampling, STAGE_B, with_content=True)


def _one_step(models: Path, side_px: int) -> Mapping[str, Callable[[Clock], None]]:
    """Pictures by RB-Modulation in both of its modes, for which stages C and B take one step each."""

    def of(with_content: bool) -> Callable[[Clock], None]:
        once = StageCSampling(steps=1), replace(STAGE_B, steps=1)
        return lambda clock: _by_cascade(clock, models, side_px, *once, with_content=with_content)

    return {"a step with a style": of(False), "a step with a style and a content": of(True)}


def _by_cascade(
    clock: Clock, models: Path, side_px: int, sampling: StageCSampling, decoding: Sampling, *, with_content: bool
) -> None:
    from operators.models.cascade import load_cascade
    from operators.models.csd import load_csd
    from operators.models.device import prepared_device
    from operators.models.rb.stylise import stylise

    device = prepared_device()
    with clock.at("loading"):
        cascade = load_cascade(str(models / "stable-cascade-prior"), str(models / "stable-cascade"), device)
        csd = load_csd(str(models / "csd"), device)
    loading_s = clock.seconds.pop("loading")
    timed = [
        (cascade.prior.text_encoder, "forward", "stage C's CLIP"),
        (cascade.prior.image_encoder, "forward", "vision tower"),
        (cascade.effnet, "forward", "EfficientNet"),
        (cascade.prior.prior, "forward", "stage C"),
        (cascade.previewer, "forward", "previewer forwards"),
        (csd, "forward", "CSD forwards"),
        (cascade.decoder.text_encoder, "forward", "stage B's CLIP"),
        (cascade.decoder.decoder, "forward", "stage B"),
        (cascade.decoder.vqgan, "decode", "stage A"),
    ]
    with ExitStack() as timing:
        for thing, method, label in timed:
            timing.enter_context(clock.on(thing, method, label))
        with clock.at("all"):
            stylise(
                cascade,
                csd,
                "a red house by the sea",
                photo(1, side_px),
                photo(2, side_px) if with_content else None,
                3,
                sampling=sampling,
                decoding=decoding,
                size_px=(side_px, side_px),
            )
    clock.seconds["loading"], clock.calls["loading"] = loading_s, 1
    clock.seconds["all"] += loading_s


def _wait_for_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _forget_peak() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_gib() -> tuple[float, float]:
    """The most that tensors took since `_forget_peak`: in all, and beyond what they take now, which is weights."""
    import torch

    if not torch.cuda.is_available():
        return 0.0, 0.0
    peak = torch.cuda.max_memory_allocated()
    return peak / 2**30, (peak - torch.cuda.memory_allocated()) / 2**30


@contextmanager
def _sampled() -> Iterator[Card | None]:
    """The GPU, sampled while the block runs; None where there is none."""
    if not shutil.which("nvidia-smi"):
        yield None
        return
    query = ["nvidia-smi", "--id=0", "--format=csv,noheader,nounits"]
    told = subprocess.run([*query, "--query-gpu=name,memory.total"], capture_output=True, text=True, check=True)
    name, total = told.stdout.strip().rsplit(",", 1)
    card = Card(name=name, gib=float(total) / 1024)
    asked = [*query, "--query-gpu=utilization.gpu,memory.used", f"--loop-ms={_SAMPLE_MS}"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = process.stdout

        def read() -> None:
            for line in lines:
                card.samples.append(read_sample(line, time.monotonic()))

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        try:
            yield card
        finally:
            process.kill()


class _Scripted(BaseHTTPRequestHandler):
    """Answers each question by the number of images in it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._send({"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        images = sum("image_url" in part for part in body["messages"][0]["content"])
        message = {"role": "assistant", "content": _SAID[images]}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        completion = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
        self._send({**completion, "choices": [choice], "usage": usage})

    def _send(self, said: Mapping[str, Any]) -> None:
        data = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def _server() -> Iterator[str]:
    """An OpenAI-compatible server for the length of a block; its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Scripted) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.bench.gpu_paint", description="style, pose and editing on one GPU, by part, twice."
    )
    parser.add_argument(
        "--shapes", choices=sorted(SIDE_PX), default="real", help="widths of the networks (default: real)"
    )
    parser.add_argument("--tasks", nargs="+", choices=sorted(PAIRS), default=list(PAIRS), help="(default: all three)")
    parser.add_argument("--pairs", type=int, help=f"of each dataset (default: {PAIRS})")
    parser.add_argument("--steps", type=int, help="of sampling, but of pose (default: as the tasks have them)")
    parser.add_argument(
        "--one-step", action="store_true", help="RB-Modulation alone, with all blocks: one step of it, without Ray"
    )
    parser.add_argument("--cpus", type=int, help="that Ray may use (default: all)")
    parser.add_argument("--folder", help="where checkpoints and datasets are written (default: a temporary one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
