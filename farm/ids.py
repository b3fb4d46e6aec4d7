"""Ids, seeds and fingerprints: all are hashes, so that row i is a function of (run, i) and of nothing else.

Random numbers come from Philox counters keyed by (seed, purpose): two purposes of one row never share a stream,
and no stream is shared between rows (decision 3: a row depends on itself alone).
"""

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.random.bit_generator import ISeedSequence

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str)  # built once: a row asks five times


def digest(*parts: object) -> bytes:
    """32 bytes of BLAKE2b over the canonical JSON of ``parts``; equal values give equal bytes on every machine."""
    return hashlib.blake2b(_CANONICAL.encode(parts).encode(), digest_size=32).digest()


def fingerprint(value: Any) -> str:
    """16 hexadecimal characters that name ``value`` (any JSON-like value)."""
    return digest(value).hex()[:16]


def sample_id(plan: str, row: int) -> str:
    """The id of row ``row`` of the plan with fingerprint ``plan``: 16 hexadecimal characters, never reused."""
    return digest("sample", plan, int(row)).hex()[:16]


def row_seed(plan: str, row: int) -> int:
    """The only source of randomness of a row: an int in [0, 2**63)."""
    return int.from_bytes(digest("seed", plan, int(row))[:8], "little") >> 1


def shard_name(shard: int) -> str:
    """The folder name of ``shard``, the same below ``candidates/`` and ``attempts/``."""
    return f"shard-{shard:06d}"


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A NumPy generator for one purpose of one seed; the same two arguments give the same stream everywhere."""
    key = np.frombuffer(digest("stream", int(seed), purpose)[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(_Key(key)))  # type: ignore[arg-type]  # the stubs know one class only


class _Key(ISeedSequence):
    """Gives Philox its key: ``Philox(key=...)`` is the same, but first asks the system for entropy it does not use."""

    def __init__(self, key: npt.NDArray[np.uint64]) -> None:
        self._key = key

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> Any:  # noqa: ARG002
        """The two words of the key."""
        return self._key


def radical_inverse(index: int) -> float:
    """The base-2 van der Corput number of ``index`` in [0, 1): stratified, stateless shares for a plan's arms."""
    value, scale = 0.0, 0.5
    while index:
        index, bit = divmod(index, 2)
        value += bit * scale
        scale /= 2
    return value
