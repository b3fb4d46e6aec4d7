"""Unit tests use no Ray, no sleep and no network: each of them raises here."""

import socket
import time
from typing import Any

import pytest


def _refuse(what: str) -> Any:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(f"a unit test used {what}; move it to tests/distributed")

    return refuse


@pytest.fixture(autouse=True)
def no_ray_no_sleep_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "init", _refuse("ray.init"))
    monkeypatch.setattr(time, "sleep", _refuse("time.sleep"))
    monkeypatch.setattr(socket.socket, "connect", _refuse("a socket"))
