"""The files of ``ray up``: by Ray's own schema and its own validation, and as large as the example run asks."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from cluster import resources
from cluster.manifests.capacity import Group, at_most, there
from farm.config import load
from farm.errors import ResourceError

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted((ROOT / "cluster" / "launch").glob("*.yaml"))
CLOUDS = ("aws", "gcp")
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
RUN = load(ROOT / "k8s" / "overlays" / "run" / "run.yaml")


def launch(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster" / "launch" / f"{name}.yaml").read_text())


def groups(config: dict[str, Any]) -> list[Group]:
    """The worker types as the capacity check knows them; GiB of memory stand in no launcher file."""
    types = {name: one for name, one in config["available_node_types"].items() if name != config["head_node_type"]}
    return [
        Group(
            *(name, one["min_workers"], one["max_workers"], one["resources"]["CPU"]),
            *(one["resources"].get("GPU", 0), 64 * 2**30, frozenset(one["labels"].items())),
        )
        for name, one in types.items()
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_ray_takes_the_file_as_it_takes_any(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    jsonschema.Draft7Validator(SCHEMA).validate(config)
    validate_config(prepare_config(config))


def test_there_is_a_file_for_each_place() -> None:
    assert [path.stem for path in FILES] == ["aws", "gcp", "onpremise"]


PLANTED = {
    "a_name_that_ray_does_not_know": ({"max_worker": 3}, "max_worker"),
    "resources_that_are_no_number": (
        {"available_node_types": {"head": {"node_config": {}, "resources": {"CPU": "2"}}}},
        "'2' is not of type 'integer'",
    ),
    "a_head_that_is_not_there": ({"head_node_type": "hed"}, "head_node_type"),
    "fewer_workers_than_the_least": ({"max_workers": 1}, "max_workers"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_refused_by_ray(name: str) -> None:
    change, text = PLANTED[name]
    with pytest.raises((jsonschema.ValidationError, ValueError), match=text):
        validate_config(prepare_config(launch("aws") | change))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_job_reaches_the_head_and_no_one_comes_in_without_the_token(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    starts = [line for key in ("head", "worker") for line in config[f"{key}_start_ray_commands"] if "ray start" in line]
    assert len(starts) == 2
    assert all(line.startswith("RAY_AUTH_MODE=token ray start ") for line in starts)
    assert "--num-cpus=0" in starts[0]
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert set(config["file_mounts"]) == {"/home/farm/.ray"}
    assert not config["docker"]["image"].endswith((":latest", "defect-farm"))


@pytest.mark.parametrize(
    ("name", "path"), [("aws", "InstanceMarketOptions.MarketType"), ("gcp", "scheduling.provisioningModel")]
)
def test_gpus_are_on_spot_and_the_head_is_not(name: str, path: str) -> None:
    first, second = path.split(".")
    types = launch(name)["available_node_types"]
    spot = {kind for kind, one in types.items() if one["node_config"].get(first, {}).get(second, "").lower() == "spot"}
    assert spot == {"gpu-spot"}


@pytest.mark.parametrize("name", CLOUDS)
def test_the_least_and_the_most_workers_hold_the_example_run(name: str) -> None:
    found = groups(launch(name))
    resources.check(RUN, partial(there, [(group.least, group) for group in found]))
    resources.check(at_most(RUN), partial(there, [(group.most, group) for group in found]))


def test_one_spot_worker_too_few_is_told() -> None:
    found = [(group.most - (group.name == "gpu-spot"), group) for group in groups(launch("aws"))]
    with pytest.raises(ResourceError, match=r"phase generate on pool=gpu-spot asks for 8 GPUs .*; the cluster has 7"):
        resources.check(at_most(RUN), partial(there, found))
