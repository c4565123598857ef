"""What the tests of object storage share: one server, a bucket for each test."""

from collections.abc import Iterator

import pytest
from s3_server import S3, moto_port, s3_behind_proxy


@pytest.fixture(scope="session")
def moto() -> Iterator[int]:
    with moto_port() as port:
        yield port


@pytest.fixture
def s3(moto: int) -> Iterator[S3]:
    with s3_behind_proxy(moto) as found:
        yield found
