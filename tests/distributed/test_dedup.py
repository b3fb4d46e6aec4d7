"""Near-duplicates on Ray: the answer of one process, whatever the number of workers and the order of the rows."""

import numpy as np
import pytest

from cluster import dedup
from farm.dedup import near_duplicates
from farm.dedup.greedy import trained

pytestmark = pytest.mark.usefixtures("ray_local")


def crowded(count: int, dim: int) -> np.ndarray:
    """Groups of vectors, some of them too near to each other."""
    rng = np.random.default_rng(1)
    groups = rng.standard_normal((count // 8, dim))
    vectors = np.repeat(groups, 8, axis=0) + 0.25 * rng.standard_normal((len(groups) * 8, dim))
    vectors = vectors[rng.permutation(len(vectors))]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_answer_is_that_of_one_process() -> None:
    import ray

    vectors = crowded(3200, 24)
    alone = near_duplicates(vectors, 0.95)
    assert 300 < (alone >= 0).sum() < 3000
    order = np.random.default_rng(2).permutation(len(vectors))
    for workers, laid, places in (
        (1, vectors, np.arange(len(vectors))),
        (2, vectors, np.arange(len(vectors))),
        (4, vectors[order], np.argsort(order)),
    ):
        blocks = [ray.put(part) for part in np.array_split(laid, 3)]
        cells = trained(vectors, seed=workers, count=64)  # other cells each time
        found = dedup.near_duplicates(blocks, places, 0.95, cells, workers, cpus=0.5)
        assert found.tolist() == alone.tolist()
