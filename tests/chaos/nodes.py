"""A Ray cluster of several raylets on this machine, held by a process of its own.

    python -m tests.chaos.nodes COUNT ADDRESS_FILE

starts it, writes its address and adds a node for each line read; at the end of its input it ends, with the cluster.
"""

import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.chaos.processes import start

CPUS = 2  # logical, of each raylet
STORE_BYTES = 256 * 2**20
POLL_S = 0.2


class Nodes:
    """The cluster of one trial. With ``count`` 0 there is none: the driver starts its own Ray, in the same folder."""

    def __init__(self, count: int, folder: Path, environment: dict[str, str], root: Path) -> None:
        """Start ``count`` raylets, whose temporary folder is ``folder``; ``ready`` waits for them."""
        self.session = folder
        folder.mkdir(parents=True)
        self.environment = {**environment, "RAY_TMPDIR": str(folder)}
        self._address = folder / "address"
        self.holder: subprocess.Popen[bytes] | None = None
        if count:
            command = [sys.executable, "-m", "tests.chaos.nodes", str(count), str(self._address)]
            self.holder = start(command, self.environment, folder / "nodes.log", root)

    def ready(self, patience_s: float) -> str | None:
        """The address to join, when all nodes are there; None where the driver starts its own."""
        if self.holder is None:
            return None
        until = time.monotonic() + patience_s
        while not self._address.exists():
            if self.holder.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the cluster did not start: {(self.session / 'nodes.log').read_text()[-2000:]}")
            time.sleep(POLL_S)
        return self._address.read_text()

    def add(self) -> None:
        """Ask for another node; it comes some seconds later."""
        if self.holder is not None and self.holder.stdin is not None and self.holder.poll() is None:
            self.holder.stdin.write(b"add\n")
            self.holder.stdin.flush()


def hold(count: int, address: Path) -> None:
    """Start the cluster, write ``address``, then add nodes as asked. Nodes that died are collected, never restarted."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=_node())
    for _ in range(count - 1):
        cluster.add_node(**_node())
    beside = address.with_suffix(".tmp")
    beside.write_text(cluster.address)
    beside.replace(address)
    while True:
        if select.select([0], [], [], POLL_S)[0]:
            asked = os.read(0, 4096)
            if not asked:
                return
            for _ in range(asked.count(b"\n")):
                cluster.add_node(wait=False, **_node())
        _collect(cluster)


def _node() -> dict[str, Any]:
    """Arguments of one raylet. It waits for ports that it has to be told, and a busy machine is slow to tell them."""
    ports = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
    asked: dict[str, Any] = {"num_cpus": CPUS, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    asked |= {"no_monitor": True, "include_log_monitor": False}  # neither is needed, and each is another Python
    return {**asked, **dict(zip(ports, _free_ports(len(ports)), strict=True))}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _collect(cluster: Any) -> None:
    """Take the exit status of every process that ended: a dead raylet that is not collected looks alive to workers."""
    for node in cluster.list_all_nodes():
        for processes in node.all_processes.values():
            for one in processes:
                one.process.poll()


if __name__ == "__main__":
    hold(int(sys.argv[1]), Path(sys.argv[2]))
