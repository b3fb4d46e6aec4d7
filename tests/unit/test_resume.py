"""Planning again what a cluster lost: the loop alone, with losses played by exceptions of Ray."""

from collections.abc import Callable, Sequence

import pytest
import ray.exceptions

from cluster.progress import Report
from cluster.resume import FRUITLESS, until_done
from farm.errors import DataError, RunError


def quiet(_finished: int, _counts: dict[str, int]) -> None:
    """Hear nothing."""


class Cluster:
    """Finishes ``pace`` units an execution, then raises what is next in ``losses``; None ends an execution well."""

    def __init__(self, units: int, pace: int, losses: Sequence[Exception | None]) -> None:
        self.left, self.pace, self.losses = list(range(units)), pace, list(losses)
        self.asked = list[int]()

    def work(self, units: Sequence[int], report: Report) -> None:
        self.asked.append(len(units))
        for finished, unit in enumerate(list(units)[: self.pace]):
            self.left.remove(unit)
            report(finished + 1, {})
        loss = self.losses.pop(0) if self.losses else None
        if loss is not None:
            raise loss

    def run(
        self, report: Report = lambda finished, counts: None, log: Callable[[str], None] = lambda text: None
    ) -> None:
        until_done(self.left, lambda: self.left, self.work, report, "the run", log)


def died() -> Exception:
    return ray.exceptions.NodeDiedError("the node is gone")


def test_what_is_lost_is_planned_again_until_nothing_is_missing() -> None:
    told, seen = list[str](), list[int]()
    cluster = Cluster(10, 4, [died(), died(), None])
    cluster.run(lambda finished, counts: seen.append(finished), told.append)
    assert cluster.asked == [10, 6, 2]
    assert seen == list(range(1, 11))
    assert told[0].startswith("the run: NodeDiedError")
    assert told[0].endswith("planning 6 units again")


def test_nothing_missing_is_no_work() -> None:
    cluster = Cluster(0, 4, [])
    cluster.run()
    assert cluster.asked == []


def test_a_cluster_that_finishes_nothing_is_given_up_with_the_last_words() -> None:
    cluster = Cluster(5, 0, [died()] * 9)
    with pytest.raises(RunError, match=r"the run: 3 executions in a row.*5 units.*first is 0.*NodeDiedError.*goes on"):
        cluster.run()
    assert len(cluster.asked) == FRUITLESS


def test_losses_between_progress_never_add_up_to_giving_up() -> None:
    cluster = Cluster(20, 1, [died()] * 20)
    cluster.run()
    assert len(cluster.asked) == 20


def test_units_that_stay_missing_without_an_error_are_given_up_too() -> None:
    with pytest.raises(RunError, match="no error"):
        Cluster(3, 0, []).run()


def test_a_worker_that_cannot_begin_is_not_tried_again() -> None:
    said = ray.exceptions.RayTaskError(
        "Generate.__init__", "trace\nWeightsError: x.safetensors: is damaged", ValueError()
    )
    cluster = Cluster(3, 0, [ray.exceptions.ActorDiedError(said)])
    with pytest.raises(RunError, match=r"the run: a worker could not begin: WeightsError: x.safetensors: is damaged"):
        cluster.run()
    assert len(cluster.asked) == 1


def test_what_a_stage_raised_comes_through_as_itself() -> None:
    inner = DataError("photograph 3 is gone")
    wrapped = ray.exceptions.RayTaskError("map", "trace", inner)
    with pytest.raises(DataError, match="photograph 3"):
        Cluster(3, 0, [wrapped]).run()
    with pytest.raises(ray.exceptions.RayTaskError):
        Cluster(3, 0, [ray.exceptions.RayTaskError("map", "trace", TypeError("ours"))]).run()
    with pytest.raises(KeyError):
        Cluster(3, 0, [KeyError("ours")]).run()
