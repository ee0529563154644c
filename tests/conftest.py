"""What tests share that is expensive: one Ray for all that need one, and one larger dataset to compare runs with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from tests.commands import ROOT
from tests.datasets import make_dataset, sha256_by_file
from tests.sources import write_photos
from tests.vlm import transformers_serve


@pytest.hookimpl(tryfirst=True)  # pytest-xdist's own hook of this name reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers, a file is run by one, and all files that use a Ray of this process by one of two.

    Files that fork are run by one worker, which begins with them: a process that has had a Ray has threads that no fork
    survives for sure. Then come the Rays, and what starts other processes: they take longest, and none is to run alone
    at the end.
    """
    rays = {path: index % _RAYS for index, path in enumerate(dict.fromkeys(i.path for i in items if _has_ray(i)))}
    for item in items:
        group = f"ray-{rays[item.path]}" if item.path in rays else "fork" if _forks(item) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: (not _forks(item), item.path not in rays, not _has(item.path, *_PROCESSES)))


_RAYS = 2
"""Started at the same time at most: each takes memory, and half of a minute to start."""
_OWN_RAY = ("local_ray", "gpu_ray", "ray_session(")
_FORKS = ('get_context("fork")', "os.fork()", "tests.fuzz.run", "train.data.loader import")
_PROCESSES = ("tests.commands", "tests.train.ranks", "tests.buckets", "subprocess", "Popen", "browser")


def _has_ray(item: pytest.Item) -> bool:
    return _has(item.path, *_OWN_RAY)


def _forks(item: pytest.Item) -> bool:
    return _has(item.path, *_FORKS) and not _has_ray(item)


@lru_cache
def _has(path: Path, *words: str) -> bool:
    text = path.read_text()
    return any(word in text for word in words)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """A Ray with two CPUs in this process, for the whole session. Its workers import from the project's root."""
    from pipelines.run.session import ray_session

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        with ray_session(2):
            yield


@pytest.fixture(scope="module")
def gpu_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """A Ray with GPUs that are numbers alone, as many as its file's GPUS says. That of `local_ray` is stopped for it,
    and started again."""
    import ray

    from pipelines.run.start import start

    there = ray.is_initialized()
    ray.shutdown()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("PYTHONPATH", str(ROOT))
        ray.init(
            address="local",
            num_cpus=4,
            num_gpus=request.module.GPUS,
            include_dashboard=False,
            object_store_memory=2**27,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        yield
        ray.shutdown()
        if there:
            start(2, 2**28, [str(ROOT)])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """MODELS with tiny checkpoints of what makes and measures pictures."""
    from diffusers import FluxKontextPipeline

    from infra.tiny import clip as tiny_clip
    from infra.tiny import diffusion as tiny_diffusion
    from infra.tiny import flux as tiny_flux

    folder = tmp_path_factory.mktemp("tiny")
    tiny_diffusion.write_flux(folder / "flux")
    tiny_diffusion.write_flux(folder / "flux-kontext", FluxKontextPipeline)
    tiny_flux.write_flux_fill(folder / "flux-fill")
    tiny_diffusion.write_cascade(folder / "stable-cascade-prior", folder / "stable-cascade")
    tiny_clip.write_csd(folder / "csd")
    tiny_clip.write_clip(folder / "clip")
    tiny_clip.write_dino(folder / "dino")
    tiny_clip.write_lpips(folder / "lpips")
    tiny_clip.write_aesthetic(folder / "aesthetic")
    return str(folder)


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """A folder of photos, and what its dataset is when nothing disturbs the run: sha256 by file."""

    data: Path
    files: dict[str, str]
    units: int


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Enough work that a kill lands in the middle of it. Made unit after unit in this process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    data = write_photos(folder / "photos", 256, 300, 280)
    dataset = make_dataset(folder / "out", data)
    return Undisturbed(data=data, files=sha256_by_file(folder / "out/derain"), units=dataset.plan().units)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MODELS with a small Qwen2-VL in it."""
    from infra.tiny.qwen2_vl import write_qwen2_vl

    folder = tmp_path_factory.mktemp("tiny")
    write_qwen2_vl(folder / "qwen2-vl")
    return folder


@pytest.fixture(scope="session")
def tiny_server(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real `transformers serve` with that model."""
    with transformers_serve(tiny_models / "qwen2-vl", tmp_path_factory.mktemp("serve") / "log.txt") as port:
        yield port
