"""OUT in a bucket, by s3fs, against a server that looks at keys, signatures and rights as S3 does (moto)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from s3fs import S3FileSystem  # type: ignore[import-untyped]

from infra.doctor import storage
from infra.doctor.limits import Undoing
from infra.slurm.ports import free_port
from tests.infra.doctor.conftest import asked

pytestmark = pytest.mark.infra  # 8 s of a core

_MAKES = 4
"""How many requests the server takes without looking at the key: to make the bucket, the user, its rights, its key."""


_ALLOWED = ("ours", "ours/data/*", "nowhere", "nowhere/*")

_SERVER = """
import threading
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def keys() -> Iterator[dict[str, str]]:
    """The environment of a user who may do all in one bucket, `ours`, and in one that is not there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", str(_MAKES))
        command = [sys.executable, "-c", _SERVER]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout
            url = f"http://127.0.0.1:{int(server.stdout.readline())}"
            try:
                yield {**_user(url), "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1"}
            finally:
                S3FileSystem.clear_instance_cache()
                server.kill()


def _user(url: str) -> dict[str, str]:
    def client(service: str) -> Any:
        return boto3.client(
            service, endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
        )

    client("s3").create_bucket(Bucket="ours")
    iam = client("iam")
    iam.create_user(UserName="me")
    rights = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "s3:*", "Resource": [f"arn:aws:s3:::{one}" for one in _ALLOWED]},
        ],
    }
    iam.put_user_policy(UserName="me", PolicyName="rights", PolicyDocument=json.dumps(rights))
    key = iam.create_access_key(UserName="me")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


@pytest.mark.parametrize(
    ("changed", "out", "state", "said", "way_out"),
    [
        ({}, "s3://ours/data", "ok", "can be written, read, listed and removed from", ""),
        ({}, "s3://ours/others", "fails", "nothing can be written to s3://ours/others", "allow s3:PutObject"),
        ({}, "s3://nowhere/data", "fails", "", "make that bucket"),
        ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "s3://ours/data", "fails", "", "look at AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://ours/data", "fails", "", "look at AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": ""}, "s3://ours/data", "fails", "", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:{port}"}, "s3://ours/data", "fails", "", "look at the network"),
    ],
)
def test_buckets(
    keys: dict[str, str],
    changed: dict[str, str],
    out: str,
    state: str,
    said: str,
    way_out: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    S3FileSystem.clear_instance_cache()
    for name, value in {**keys, **changed, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value.format(port=free_port()))
        if not value:
            monkeypatch.delenv(name)
            monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    found = next(storage.out(asked("--out", out), Undoing()))
    assert found.state == state and said in found.text and way_out in found.way_out, found
    assert keys["AWS_SECRET_ACCESS_KEY"] not in found.text
