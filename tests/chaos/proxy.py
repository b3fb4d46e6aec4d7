"""An HTTP proxy before an S3 server that fails on purpose: errors, slowness, dropped and refused connections.

What happens to request n is a function of (seed, n, mode), so a trial's faults are drawn, not timed.
"""

import http.client
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import numpy as np

SHARE = 0.5  # of the requests that fail in the modes ``errors`` and ``drop``
SLOW_S = (0.2, 1.5)
ERRORS = ((500, "InternalError"), (503, "SlowDown"))
PATIENCE_S = 60
_HOP = ("connection", "transfer-encoding", "keep-alive", "content-length", "expect", "server", "date")

Mode = Literal["ok", "errors", "slow", "drop", "refuse"]
Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What it gets."""

    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True)
class Fate:
    """What happens to one request; ``drop`` closes the connection before or after the store has done its part."""

    error: tuple[int, str] | None = None
    slow_s: float = 0.0
    drop: Literal["", "before", "after"] = ""


@dataclass
class Faults:
    """Draws the fate of each request; ``mode`` may change at any time."""

    seed: int
    mode: Mode = "ok"
    counts: dict[str, int] = field(default_factory=dict)  # what was done to requests so far
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fate(self) -> Fate:
        """The fate of the next request."""
        with self._lock:
            self._number += 1
            drawn = draw_fate(self.seed, self._number, self.mode)
            name = "error" if drawn.error else "slow" if drawn.slow_s else drawn.drop or "ok"
            self.counts[name] = self.counts.get(name, 0) + 1
            return drawn


def draw_fate(seed: int, number: int, mode: Mode) -> Fate:
    """What happens to request ``number`` in ``mode``."""
    rng = np.random.default_rng([seed, number])
    hit, which = rng.uniform() < SHARE, int(rng.integers(2))
    if mode == "errors" and hit:
        return Fate(error=ERRORS[which])
    if mode == "slow":
        return Fate(slow_s=float(rng.uniform(*SLOW_S)))
    if mode == "drop" and hit:
        return Fate(drop=("before", "after")[which])
    return Fate(drop="before") if mode == "refuse" else Fate()


def answer(
    request: Request, fate: Fate, forward: Callable[[Request], Reply], sleep: Callable[[float], None]
) -> Reply | None:
    """The reply to ``request`` under ``fate``; None closes the connection without one."""
    if fate.drop == "before":
        return None
    if fate.error:
        status, code = fate.error
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>chaos</Message></Error>'
        body = b"" if request.method == "HEAD" else text.encode()
        return Reply(status, [("Content-Type", "application/xml")], body)
    if fate.slow_s:
        sleep(fate.slow_s)
    reply = forward(request)
    return None if fate.drop == "after" else reply


class Proxy:
    """Listens on a free port of the loopback interface and forwards to ``host:port`` of an S3 server."""

    def __init__(self, host: str, port: int, seed: int) -> None:
        self.faults = Faults(seed)
        forward = _forwarder(host, port)
        self._server = _Server(("127.0.0.1", 0), _handler(self.faults, forward))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Nothing: a client that was killed, or a connection that was dropped on purpose, is what this is for."""


def _forwarder(host: str, port: int) -> Callable[[Request], Reply]:
    def forward(request: Request) -> Reply:
        connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            response = connection.getresponse()
            return Reply(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    return forward


def _handler(faults: Faults, forward: Callable[[Request], Reply]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            headers = [(name, value) for name, value in self.headers.items() if name.lower() not in _HOP]
            request = Request(self.command, self.path, headers, self._body())
            reply = answer(request, faults.fate(), forward, time.sleep)
            if reply is None:
                self.close_connection = True
                return
            self._send(reply)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing: the counts of ``Faults`` say what was done."""

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                continue
            return b"".join(parts)

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            length = str(len(reply.body))
            for name, value in reply.headers:
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                elif name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(reply.body)

    return Handler
