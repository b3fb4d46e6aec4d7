"""One real local Ray for the whole session."""

import os
import socket
from collections.abc import Iterator

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


PORT = free_port()
os.environ |= {  # before Ray starts, so that its workers have it too
    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PORT}",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """The URL of an empty bucket on an S3-compatible server of this process."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=PORT, verbose=False)
    server.start()
    boto3.client("s3").create_bucket(Bucket="farm")
    yield "s3://farm"
    server.stop()


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """A local Ray with four logical CPUs, joined the way jobs join it."""
    import ray

    from cluster.session import connect
    from farm.config import ClusterConfig

    connect(ClusterConfig(num_cpus=4))
    yield
    ray.shutdown()
