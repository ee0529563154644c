"""A local S3 for the tests of this folder, in a process of its own: what is killed beside it does not touch it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import boto3  # type: ignore[import-untyped]
import pytest
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from tests.commands import ROOT

# What a user sets: nothing else is told to the commands, to s3fs or to boto3.
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class S3:
    """The server, and Amazon's own client to it, by which tests see what there really is."""

    url: str
    client: Any

    def disturb(self, *faults: dict[str, Any]) -> None:
        """Have requests fail (tests/buckets/server.py), in the place of those that failed before."""
        urlopen(Request(f"{self.url}/_test/faults", json.dumps(faults).encode(), method="PUT")).close()

    def requests(self) -> list[tuple[str, str, int]]:
        """Method, path and status of the requests since this was last asked."""
        with urlopen(Request(f"{self.url}/_test/requests", b"", method="POST")) as answer:
            return [tuple(one) for one in json.load(answer)]

    def bucket(self, name: str, objects: dict[str, bytes] | None = None) -> str:
        """A new bucket with some objects; its name."""
        self.client.create_bucket(Bucket=name)
        for key, data in (objects or {}).items():
            self.client.put_object(Bucket=name, Key=key, Body=data)
        return name

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """The objects below a prefix, by the rest of their keys."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        got = {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        return {key.removeprefix(prefix): data for key, data in got.items()}


@pytest.fixture(scope="package")
def running_s3() -> Iterator[S3]:
    with (
        subprocess.Popen(
            [sys.executable, "-m", "tests.buckets.server"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a line for each request
            text=True,
        ) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        assert server.stdout
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            patch.setenv("AWS_ENDPOINT_URL", url)
            for name, value in ENVIRONMENT.items():
                patch.setenv(name, value)
            yield S3(url, boto3.client("s3"))
        finally:
            S3FileSystem.clear_instance_cache()  # they know this server's port, and the next server has another
            server.kill()


@pytest.fixture
def s3(running_s3: S3) -> Iterator[S3]:
    running_s3.disturb()
    running_s3.requests()
    yield running_s3
    running_s3.disturb()
