"""An S3 server for tests: moto's, in a thread of this process, with buckets of their own."""

import importlib.util
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from service.settings import Settings

KEY, SECRET = "test-key", "test-secret"

_NUMBERS = count(1)

BucketSettings = Callable[..., Settings]
"""Takes settings and returns them with a fresh bucket, or the one named, in them."""


def needed() -> None:
    """Skip what follows, or fail where the machine promised S3, unless its packages are here."""
    from tests.conftest import unavailable

    missing = [name for name in ("s3fs", "moto", "flask") if importlib.util.find_spec(name) is None]
    if missing:
        unavailable("s3", f"{', '.join(missing)} not installed: pip install '.[s3]' 'moto[server]'")


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of a running server; tests that use it are marked `s3`."""
    needed()
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> Any:
    """The maker's own client, with which tests do what the owner of a store does."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )


@pytest.fixture
def in_bucket(s3_endpoint: str, s3_client: Any) -> BucketSettings:
    """Give settings a bucket."""

    def give(settings: Settings, bucket: str | None = None, **others: Any) -> Settings:
        name = bucket or f"oneperson-{next(_NUMBERS)}"
        if bucket is None:
            s3_client.create_bucket(Bucket=name)
        chosen = {
            "files_url": f"s3://{name}/province",
            "s3_endpoint": s3_endpoint,
            "s3_addressing": "path",
            "s3_timeout_s": 60.0,  # The machine of a test may be busy.
            "s3_access_key": SecretStr(KEY),
            "s3_secret_key": SecretStr(SECRET),
        }
        return settings.model_copy(update=chosen | others)

    return give


def bucket_of(settings: Settings) -> str:
    """Return the name of the bucket in settings."""
    return Path(str(settings.files_url)).parts[1]
