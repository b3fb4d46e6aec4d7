"""Unit tests use no Ray, no sleep and no network: each of them raises here."""

import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

OURS = ("farm", "cluster", "jobs", "tests", "test_")


def _refuse(what: str) -> Any:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(f"a unit test used {what}; move it to tests/distributed")

    return refuse


def _refuse_ours(what: str, real: Callable[[float], None]) -> Any:
    """Our own code may not; the standard library may (``subprocess`` polls)."""

    def refuse(seconds: float) -> None:
        if sys._getframe(1).f_globals["__name__"].startswith(OURS):
            raise AssertionError(f"a unit test used {what}; move it to tests/distributed")
        real(seconds)

    return refuse


@pytest.fixture(autouse=True)
def no_ray_no_sleep_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "init", _refuse("ray.init"))
    monkeypatch.setattr(time, "sleep", _refuse_ours("time.sleep", time.sleep))
    monkeypatch.setattr(socket.socket, "connect", _refuse("a socket"))
