"""What asking a vision-language model costs beside the server's own time. `make bench` runs it.

A server in a process of its own answers each request after a second, 64 at a time, and counts what is in the air. It is
asked by a plain asyncio client with a semaphore, and by ours, through the actor of a run on Ray, from 1, 2 and 4 worker
processes: how many requests a second, as a share of the plain client's in the same round. Then the store of answers
alone: CPU time and files of 500,000 answers, scaled from fewer.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import tracemalloc
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import ray

from manifests.storage import Store
from operators.vlm.client import Vlm
from operators.vlm.prompting import Prompt
from operators.vlm.request import Request
from operators.vlm.responses import Answer, Responses
from pipelines.run import engine
from pipelines.run.asking import through_actor

LATENCY_S = 1.0
PLACES = 64
SCALED_TO = 500_000
IN_THE_AIR = (16, 64)
WORKERS = (1, 2, 4)

_PROMPT = Prompt(id="bench-1", text="First: <image> Second: <image> Do they agree? Number {number}.", max_tokens=64)
_SAID = "Reasoning: Both images show the same street at the same hour, one of them in the rain.\nAnswer: Yes"


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.serve:
        asyncio.run(_serve())
        return 0
    _measure_store(arguments.answers)
    with _server() as url, engine.ray_session(arguments.cpus), tempfile.TemporaryDirectory() as folder:
        for at_once in IN_THE_AIR:
            for number in range(arguments.rounds):
                _measure_asking(url, Path(folder) / f"{at_once}-{number}", at_once, arguments.seconds)
    return 0


def _measure_asking(url: str, folder: Path, at_once: int, seconds: int) -> None:
    requests = _requests(at_once * seconds)
    plain_s = asyncio.run(_ask_plainly(url, requests, at_once))
    most = _most_in_the_air(url)
    rate = len(requests) / plain_s
    print(f"{at_once} in the air, plain asyncio: {rate:.1f} requests/s, at most {most} in the air", flush=True)
    for count in WORKERS:
        vlm = Vlm(model="m", url_or_folder=url, responses=f"{folder}/{count}", concurrency=at_once)
        with through_actor() as through:
            own = replace(vlm, through=through)
            workers: list[Any] = [ray.remote(num_cpus=0)(_Worker).remote(own) for _ in range(count)]
            ray.get([worker.ask.remote(_requests(1, first=-1 - place)) for place, worker in enumerate(workers)])
            _most_in_the_air(url)
            shares = [ray.put(requests[place::count]) for place in range(count)]
            started_s = time.perf_counter()
            asker_s = sum(ray.get([worker.ask.remote(share) for worker, share in zip(workers, shares, strict=True)]))
            took_s = time.perf_counter() - started_s
            for worker in workers:
                ray.kill(worker)
        ours, most = len(requests) / took_s, _most_in_the_air(url)
        print(
            f"  ours, {count} workers: {ours:.1f} requests/s, {ours / rate:.2f} of plain, at most {most} in the air, "
            f"{1_000 * asker_s / len(requests):.1f} ms of workers' CPU a request",
            flush=True,
        )
        assert most <= at_once


class _Worker:
    """A worker process that asks."""

    def __init__(self, vlm: Vlm) -> None:
        self._vlm = vlm

    def ask(self, requests: list[Request]) -> float:
        """Ask in one go; how many seconds of CPU it took here."""
        started_s = time.process_time()
        assert all(isinstance(answer, Answer) for answer in self._vlm.ask(requests))
        return time.process_time() - started_s


async def _ask_plainly(url: str, requests: list[Request], at_once: int) -> float:
    """What a script of one's own would do: how many seconds it takes."""
    from openai import AsyncOpenAI

    from operators.vlm.openai import _messages

    places = asyncio.Semaphore(at_once)

    async def ask(request: Request) -> None:
        async with places:
            await client.chat.completions.create(
                model="m", messages=_messages(request), max_tokens=request.max_tokens, temperature=0.0
            )

    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        await ask(requests[0])
        started_s = time.perf_counter()
        await asyncio.gather(*map(ask, requests))
        return time.perf_counter() - started_s


def _measure_store(count: int) -> None:
    """CPU time of all that a writer does, with the counting of its files."""
    answer = Answer(text=_SAID, model="m-2026-01-01", finish_reason="stop", tokens_in=1_500, tokens_out=25)
    described = [request.described("m", "") for request in _requests(100)]
    scale = SCALED_TO / count
    with tempfile.TemporaryDirectory() as folder:
        for name, url in (("a disk", folder), ("memory://", "memory://bench/responses")):
            keys = [hashlib.sha256(f"{name}{place}".encode()).hexdigest() for place in range(count)]
            responses, most, started_s = Responses(url), 0, time.process_time()
            for start in range(0, count, PLACES):  # what arrives in a second
                for place in range(start, min(count, start + PLACES)):
                    responses.add(keys[place], described[place % 100], answer)
                responses.flush()
                responses.tidy()
                most = max(most, len(Store(url).names("")))
            responses.close()
            write_s = time.process_time() - started_s
            started_s = time.process_time()
            again = Responses(url)
            scan_s = time.process_time() - started_s
            assert len(again) == count
            started_s = time.process_time()
            assert all(again.get(key) for key in keys)
            read_s = time.process_time() - started_s
            names = Store(url).names("")
            size = sum(len(Store(url).read(file)) for file in names)
            print(
                f"{count:,} answers on {name}: {most} files at the most, {size / 2**20:.0f} MiB; CPU seconds for "
                f"{SCALED_TO:,}: {scale * write_s:.0f} to write them, {scale * scan_s:.0f} to open the store again, "
                f"{scale * read_s:.0f} to replay them",
                flush=True,
            )
        tracemalloc.start()
        opened = Responses(folder)
        print(f"memory: {tracemalloc.get_traced_memory()[0] / len(opened):.0f} bytes an answer", flush=True)
        tracemalloc.stop()


def _requests(count: int, first: int = 0) -> list[Request]:
    images = [_image(0), _image(1)]
    return [Request.of(_PROMPT, images, number=str(number)) for number in range(first, first + count)]


def _image(seed: int) -> bytes:
    """A JPEG of 512 px that is as large as a photo's."""
    small = np.random.default_rng(seed).integers(0, 255, (64, 64, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(small, (512, 512)))[1])


@contextmanager
def _server() -> Iterator[str]:
    command = [sys.executable, "-m", "infra.bench.vlm", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


def _most_in_the_air(url: str) -> int:
    """The most that was in the air since this was asked last."""
    with urllib.request.urlopen(f"{url}/most") as answered:
        return int(answered.read())


async def _serve() -> None:
    """HTTP/1.1 by hand, so that it costs next to nothing: what is measured is the client."""
    places, now, most = asyncio.Semaphore(PLACES), 0, 0
    message = {"role": "assistant", "content": _SAID}
    completion = {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m-2026-01-01",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 1_500, "completion_tokens": 25, "total_tokens": 1_525},
    }
    said = json.dumps(completion).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                if head.startswith(b"get"):
                    body, most = str(most).encode(), now
                else:
                    now += 1
                    most = max(most, now)
                    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
                    async with places:
                        await asyncio.sleep(LATENCY_S)
                    body, now = said, now - 1
                kind = b"Content-Type: application/json\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (kind, len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.vlm", description="What asking a model costs.")
    parser.add_argument("--answers", type=int, default=50_000, help="in the store (default: 50000)")
    parser.add_argument("--seconds", type=int, default=10, help="that the server needs at least (default: 10)")
    parser.add_argument("--rounds", type=int, default=1, help="(default: 1)")
    parser.add_argument("--cpus", type=int, default=2, help="(default: 2)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
