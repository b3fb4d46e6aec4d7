"""Connecting to Ray, once, with the options that every job shares."""

import logging
import os
from typing import Any

from cluster.resources import Labels
from farm.config import ClusterConfig

SHARD_STALLS = 6  # a shard is many batches; each has ``stall_timeout_s`` for itself


def connect(cluster: ClusterConfig) -> None:
    """Join ``cluster.address``, or start a local Ray on the loopback interface. Does nothing when already joined."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if cluster.address is None:
        # Ray 2.60 reports the arguments of every Ray Data actor as an error on the driver's terminal (ray #53727)
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if not ray.is_initialized():
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": True}
        if cluster.address is not None:
            ray.init(address=cluster.address, **options)
        else:
            options["num_cpus"] = cluster.num_cpus or os.cpu_count()
            options["num_gpus"] = cluster.num_gpus
            ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **options)
    _set_data_context(cluster)


def _set_data_context(cluster: ClusterConfig) -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.use_datasource_v2 = False  # the V2 reader packs small files into one block and starts actors every epoch
    context.execution_no_progress_timeout_s = SHARD_STALLS * cluster.stall_timeout_s  # a frozen process or node
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = 2**31 - 1  # a shard is one block, whatever its size
    context.raise_original_map_exception = True  # Ray's own wrapper loses the stage's error on its way to the driver
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # "progress bars disabled", each time
    for name in ("ray.data.exceptions", "ray.data._internal.execution.streaming_executor_state"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what they log is raised too, and told once


def available(labels: Labels = ()) -> dict[str, float]:
    """CPUs, GPUs and memory that the joined cluster has in all, and the most that one node has (``node_CPU`` ...).

    With ``labels``, of the nodes that have them alone.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and set(labels) <= set(node["Labels"].items())]
    there: dict[str, float] = {}
    for name in ("CPU", "GPU", "memory"):
        each = [float(node.get(name, 0.0)) for node in nodes]
        there |= {name: sum(each), f"node_{name}": max(each, default=0.0)}
    return there
