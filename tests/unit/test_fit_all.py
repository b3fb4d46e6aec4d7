"""``farm fit-all`` without Ray: which pairs may run together, what the table says, which calls are refused."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from cluster.fit_all import check_runs
from cluster.fit_board import Board, Node, Pair, holds
from farm.config import PoolConfig, Run
from farm.errors import ConfigError
from tests.photos import make_run

LEARNS = {"kind": "adabldm", "fit": {"loop": {"steps": 30}}}
FOUR = [Node(4)]


def pair(arm: str, actors: int = 1, cpus: float = 1, gpus: float = 0, category: str = "hazelnut") -> Pair:
    pool = PoolConfig(actors=actors, cpus=cpus, gpus=gpus)
    return Pair("a.yaml", category, arm, pool, steps=200, shots=6, adapter=f"runs/a/adapters/{arm}")


def board(*pairs: Pair, at_once: int | None = None) -> Board:
    ticks = itertools.count()
    return Board(pairs, at_once, clock=lambda: float(next(ticks)))


def run(folder: Path, **changes: Any) -> Run:
    return make_run(folder / "plates", folder / "out", **{"methods": [LEARNS], **changes})


@pytest.mark.parametrize(
    ("nodes", "pools", "fits"),
    [
        ([Node(4)], [(2, 2, 0)], True),
        ([Node(4)], [(2, 2, 0), (1, 0.5, 0)], False),
        ([Node(3), Node(3)], [(3, 2, 0)], False),  # 6 CPUs in all, yet each node has room for one of 2
        ([Node(3), Node(3)], [(2, 1, 0), (2, 2, 0)], True),  # the larger go first
        ([Node(8, 2)], [(2, 1, 1)], True),
        ([Node(8, 2)], [(3, 1, 1)], False),
        ([Node(8, 2)], [(3, 1, 0.6)], False),  # 1.8 GPUs of 2, yet no two share one
        ([Node(8, 2)], [(6, 1, 0.33)], True),
        ([Node(8), Node(1, 1)], [(1, 2, 1)], False),  # CPUs on one node, the GPU on the other
        ([], [(1, 0, 0)], False),
    ],
)
def test_workers_fit_node_by_node(nodes: list[Node], pools: list[tuple[int, float, float]], fits: bool) -> None:
    asked = [PoolConfig(actors=actors, cpus=cpus, gpus=gpus) for actors, cpus, gpus in pools]
    assert holds(nodes, asked) is fits


def test_pairs_start_as_the_cluster_has_room() -> None:
    one, large, two, three = pairs = [pair("one", 2), pair("large", 4), pair("two"), pair("three")]
    given = board(*pairs)
    assert given.admit(FOUR) == [one, two, three]  # the large one waits, the small ones pass
    assert given.admit(FOUR) == []
    given.finish(one, 6)
    given.fail(two, "its photographs are torn")
    assert given.admit(FOUR) == []
    given.finish(three, 6)
    assert given.admit(FOUR) == [large]
    assert given.counts() == {"done": 2, "failed": 1, "running": 1}


def test_no_more_than_asked_run_at_once() -> None:
    pairs = [pair(name, cpus=0) for name in "abcd"]
    given = board(*pairs, at_once=2)
    assert given.admit(FOUR) == pairs[:2]
    given.finish(pairs[1], 6)
    assert given.admit(FOUR) == [pairs[2]]


def test_a_pair_that_no_node_holds_fails_with_the_numbers_and_stops_no_other() -> None:
    huge, small = pair("huge", actors=3, cpus=2), pair("small")
    given = board(huge, small)
    nodes = [Node(3), Node(3)]
    assert given.refuse(nodes) == [huge]
    assert given.rows[huge].reason == (
        "hazelnut/huge asks for 3 x 2 CPUs, and the cluster's nodes cannot hold them: 2 x (3 CPUs, 0 GPUs). "
        "Lower cluster.fit.actors, .cpus or .gpus, or add a node"
    )
    assert given.admit(nodes) == [small]
    assert given.refuse([]) == []  # what runs is left alone, whatever becomes of the nodes


def test_the_table_says_where_every_pair_stands() -> None:
    runs, failed, skipped, waits = pairs = [pair("dual-crack"), pair("dual-cut"), pair("dual-hole"), pair("dual-print")]
    given = board(*pairs, at_once=1)
    given.tell(skipped, 200, 0.125)
    given.skip(skipped)
    given.fail(failed, "hazelnut: no few-shot photograph to learn from; found none at all\n  more of it")
    given.admit(FOUR)
    given.tell(runs, 50, 0.03125)
    assert given.table().splitlines() == [
        "4 pairs: 1 failed, 1 running, 1 skipped, 1 waiting",
        "category/arm         state       step    loss  seconds  shots",
        "hazelnut/dual-crack  running   50/200  0.0312      1.0      6",
        "hazelnut/dual-cut    failed     0/200       -      0.0      6  "
        "hazelnut: no few-shot photograph to learn from; found non...",
        "hazelnut/dual-hole   skipped  200/200  0.1250      0.0      6",
        "hazelnut/dual-print  waiting    0/200       -      0.0      6",
    ]
    assert given.results()[0] == {
        "name": "hazelnut/dual-crack",
        "config": "a.yaml",
        "category": "hazelnut",
        "arm": "dual-crack",
        "steps": 200,
        "shots": 6,
        "adapter": "runs/a/adapters/dual-crack",
        "state": "running",
        "step": 50,
        "loss": 0.03125,
        "seconds": 1.0,
        "reason": "",
    }
    assert given.results()[1]["reason"].endswith("\n  more of it")
    assert given.pairs("waiting") == [waits]


def test_a_log_line_for_each_change_of_state() -> None:
    one = pair("dual", actors=2, gpus=1)
    given = board(one)
    given.admit([Node(8, 2)])
    assert given.line(one) == "hazelnut/dual: running on 2 x 1 CPUs and 1 GPUs, 200 steps, 6 shots"
    given.tell(one, 200, 0.5)
    given.finish(one, 4)
    assert given.line(one) == "hazelnut/dual: done in 1.0 s, loss 0.5000"
    assert given.rows[one].reason == "2 of 6 shots were left out"


def test_two_pairs_of_one_name_are_told_apart() -> None:
    one = pair("dual")
    two = Pair("b.yaml", "hazelnut", "dual", PoolConfig(), 10, 1, "runs/b/adapters/dual")
    given = board(one, two, pair("dual", category="grid"))
    assert [given.name(each) for each in given.rows] == [
        "hazelnut/dual (a.yaml)",
        "hazelnut/dual (b.yaml)",
        "grid/dual",
    ]


def test_two_configs_that_share_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    linked = make_run(tmp_path / "plates", tmp_path / "link" / "out", methods=[LEARNS])
    with pytest.raises(ConfigError, match=r"^a\.yaml and b\.yaml: both train 'adabldm' into .*/out, and one folder"):
        check_runs([("a.yaml", run(tmp_path)), ("b.yaml", linked)])
    with pytest.raises(ConfigError, match=r"^a\.yaml and a\.yaml: both train"):
        check_runs([("a.yaml", run(tmp_path))] * 2)
    check_runs([("a.yaml", run(tmp_path)), ("b.yaml", run(tmp_path, methods=[{**LEARNS, "name": "other"}]))])


def test_configs_of_two_clusters_are_refused_by_name(tmp_path: Path) -> None:
    other = run(tmp_path / "b", cluster={"num_cpus": 2})
    with pytest.raises(ConfigError, match=r"^a\.yaml has cluster\.num_cpus=4, b\.yaml has 2; one call joins one clust"):
        check_runs([("a.yaml", run(tmp_path)), ("b.yaml", other)])


def test_a_call_in_which_nothing_learns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^a\.yaml: no method learns here; give one a 'fit' section"):
        check_runs([("a.yaml", run(tmp_path, methods=[{"kind": "rules"}]))])
