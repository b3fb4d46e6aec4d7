"""One real local Ray for the whole session."""

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def ray_local() -> Iterator[None]:
    """A local Ray with four logical CPUs, joined the way jobs join it."""
    import ray

    from cluster.session import connect
    from farm.config import ClusterConfig

    connect(ClusterConfig(num_cpus=4))
    yield
    ray.shutdown()
