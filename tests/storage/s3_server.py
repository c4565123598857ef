"""moto's S3 over HTTP with a proxy in front, for all tests that need object storage."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from faulty_proxy import FaultyProxy

SECRET = "planted-secret-key-4711"  # noqa: S105 - planted


@dataclass
class S3:
    """A bucket behind a proxy that spoils what it is told to."""

    proxy: FaultyProxy
    bucket: str
    client: Any
    """boto3's client of the server itself, which no fault reaches."""

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/data"


PAGE = 100
"""How many keys a listing has at most; then the client has to ask again."""

_SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until the tests end
server.stop()
"""


@contextmanager
def moto_port() -> Iterator[int]:
    """A server in a process of its own: vLLM can't be imported beside moto's Flask."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE)},
        text=True,
    )
    with server:
        yield int(server.stdout.readline())
        server.stdin.close()


@contextmanager
def s3_behind_proxy(port: int) -> Iterator[S3]:
    """A new bucket; the environment leads to it for the length of the block."""
    import boto3

    named = {
        "AWS_ACCESS_KEY_ID": "test-key",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    kept = {name: os.environ.get(name) for name in (*named, "AWS_ENDPOINT_URL")}
    proxy = FaultyProxy(port)
    os.environ |= named | {"AWS_ENDPOINT_URL": proxy.url}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    try:
        yield S3(proxy, bucket, client)
    finally:
        client.close()
        proxy.close()
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
