from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from cluster.resources import Labels, check, label_sets, local_resources, phases
from farm.config import ClusterConfig, Run, parse
from farm.errors import ConfigError, ResourceError
from tests.settings import settings_tree


def nodes(total: dict[str, float], **labelled: dict[str, float]) -> Callable[[Labels], dict[str, float]]:
    """What there is in all, and on nodes of each ``pool``; nothing on others."""
    return lambda labels: labelled.get(dict(labels).get("pool", ""), {"CPU": 0.0}) if labels else total


def run(**cluster: Any) -> Run:
    return parse(settings_tree(cluster=cluster), "x")


def test_a_run_that_asks_for_too_many_cpus_is_refused_with_the_sum() -> None:
    wanted = run(generate={"actors": 4, "cpus": 1}, embed={"actors": 1, "cpus": 1}, write={"actors": 1, "cpus": 1})
    with pytest.raises(ResourceError) as caught:
        check(wanted, nodes({"CPU": 4.0, "GPU": 0.0}))
    assert "phase generate asks for 6 CPUs (generate 4 x 1, embed 1 x 1, write 1 x 1); the cluster has 4." in str(
        caught.value
    )
    assert "Lower cluster.generate.actors or .cpus, or add a node" in str(caught.value)


def test_gpus_count_too() -> None:
    wanted = run(generate={"actors": 2, "cpus": 0.5, "gpus": 1}, embed={"cpus": 0.5, "gpus": 0.5})
    with pytest.raises(ResourceError, match=r"asks for 2.5 GPUs \(generate 2 x 1, embed 1 x 0.5\); the cluster has 2"):
        check(wanted, nodes({"CPU": 8.0, "GPU": 2.0}))


def test_rays_own_tasks_are_counted() -> None:
    """The judge phase's pool fits (1.5 CPUs), but not with the settling task beside it."""
    wanted = run(judge={"cpus": 1.5})
    with pytest.raises(ResourceError, match=r"phase judge asks for 2.5 CPUs \(judge 1 x 1.5, settle 1 x 1\)"):
        check(wanted, nodes({"CPU": 2.0}))


def test_an_actor_that_fits_no_node_is_refused() -> None:
    with pytest.raises(ResourceError, match="one train asks for 6 CPUs; the largest node has 4"):
        check(run(train={"actors": 2, "cpus": 6}), nodes({"CPU": 64.0, "node_CPU": 4.0}))


def test_what_fits_exactly_passes() -> None:
    check(run(generate={"cpus": 1.25}), nodes({"CPU": 2.0, "GPU": 0.0}))


def test_a_local_ray_has_what_the_config_says() -> None:
    assert local_resources(ClusterConfig(num_cpus=3, num_gpus=1)) == {
        "CPU": 3.0, "GPU": 1.0, "node_CPU": 3.0, "node_GPU": 1.0,
    }  # fmt: skip


def test_every_phase_asks_for_something() -> None:
    assert all(sum(one.count * one.cpus for one in asks) > 0 for asks in phases(run()).values())


def test_a_fit_is_asked_for_where_a_method_learns() -> None:
    learning = {"kind": "background_aware", "fit": {}}
    fits = {"fit": {"actors": 3, "cpus": 1}}
    asked = phases(parse(settings_tree(methods=[learning], cluster=fits), "x"))
    assert [(one.name, one.count, one.setting) for one in asked["fit"]] == [("fit", 3, "cluster.fit")]
    assert "fit" not in phases(run(**fits))


SPOT = {"actors": 4, "cpus": 1, "labels": "pool=spot"}


def test_a_pool_with_labels_is_held_against_the_nodes_that_have_them() -> None:
    wanted = run(generate=SPOT)
    check(wanted, nodes({"CPU": 16.0}, spot={"CPU": 4.0}))
    with pytest.raises(ResourceError) as caught:
        check(wanted, nodes({"CPU": 16.0}, spot={"CPU": 3.0}))
    assert str(caught.value) == (
        "phase generate on pool=spot asks for 4 CPUs (generate 4 x 1); the cluster has 3. "
        "Lower cluster.generate.actors or .cpus, or add a node"
    )


def test_each_set_of_labels_is_looked_at_once_after_all_nodes() -> None:
    both = {"cpus": 1, "labels": "zone=b,pool=spot"}
    assert label_sets(run(generate=SPOT, judge=SPOT, embed=both)) == [
        *((), (("pool", "spot"),), (("pool", "spot"), ("zone", "b")))
    ]


def test_pools_with_more_labels_count_among_those_with_fewer() -> None:
    wanted = run(generate=SPOT, embed={"cpus": 1, "labels": "pool=spot,zone=b"})
    with pytest.raises(ResourceError, match=r"on pool=spot asks for 5 CPUs \(generate 4 x 1, embed 1 x 1\); .* has 4"):
        check(wanted, nodes({"CPU": 16.0}, spot={"CPU": 4.0}))


def test_a_ray_started_here_has_no_labels_and_says_so_instead_of_waiting() -> None:
    with pytest.raises(ResourceError, match=r"phase generate on pool=spot asks for 4 CPUs .*; the cluster has 0"):
        check(run(generate=SPOT), partial(local_resources, ClusterConfig(num_cpus=8)))


@pytest.mark.parametrize("labels", ["pool", "pool=", "=gpu", "pool=gpu,", "pool = gpu", "a=b=c"])
def test_labels_are_written_as_ray_start_takes_them(labels: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster.generate.labels: String should match pattern"):
        run(generate={"labels": labels})


def test_no_labels_is_any_node() -> None:
    assert run().cluster.generate.label_selector is None
    assert run(generate=SPOT).cluster.generate.label_selector == {"pool": "spot"}
