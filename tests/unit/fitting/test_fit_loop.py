"""One loop for every training: equal for every way of sharing a batch, and exact when it goes on."""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Barrier, Thread

import pytest
import torch
from torch import Tensor

from farm.config.loop import LoopConfig
from farm.errors import ConfigError
from farm.fitting.loop import Fit, rate, read_ema
from farm.fitting.task import Part, generator
from tests.fits import Line

LOOP = LoopConfig(steps=12, batch_size=8, lr=3e-2, warmup=2, checkpoint_every=5, bf16=False, ema=0.9)


class Together:
    """Workers that are threads of this process."""

    def __init__(self, rank: int, count: int, barrier: Barrier, table: list[list[Tensor]]) -> None:
        self.rank, self.count, self._barrier, self._table = rank, count, barrier, table

    def _exchange(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        self._table[self.rank] = [tensor.clone() for tensor in tensors]
        self._barrier.wait()
        seen = list(self._table)
        self._barrier.wait()
        return seen

    def average(self, tensors: Sequence[Tensor]) -> None:
        for tensor, *all_of_them in zip(tensors, *self._exchange(tensors), strict=True):
            tensor.copy_(torch.stack(all_of_them).mean(dim=0))

    def share(self, tensors: Sequence[Tensor]) -> None:
        for tensor, first in zip(tensors, self._exchange(tensors)[0], strict=True):
            tensor.detach().copy_(first)


def losses(fit: Fit, steps: int = 6) -> list[float]:
    return [fit.advance()["loss"] for _ in range(steps)]


def weights(fit: Fit) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in fit.task.networks.state_dict().items()}


def assert_close(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_parts_of_a_batch_share_its_rows(count: int) -> None:
    rows = [list(range(12))[Part(index, count).rows(12)] for index in range(count)]
    assert sorted(row for part in rows for row in part) == list(range(12))
    assert {len(part) for part in rows} == {12 // count}


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_parts_learn_what_whole_batches_learn(accumulate: int) -> None:
    whole, cut = Fit(Line(), LOOP, 3), Fit(Line(), LOOP.model_copy(update={"accumulate": accumulate}), 3)
    assert losses(cut) == pytest.approx(losses(whole), rel=1e-5)
    assert_close(weights(whole), weights(cut))
    assert_close(whole.ema, cut.ema)


def test_accumulated_gradients_are_those_of_the_whole_batch() -> None:
    fits = [Fit(Line(), LOOP.model_copy(update={"accumulate": accumulate}), 3) for accumulate in (1, 4)]
    for fit in fits:
        fit._backward()
    whole, cut = (fit.task.networks["net"][0].weight.grad for fit in fits)
    assert whole is not None  # AdamW hides a wrong scale of all gradients, so they are compared themselves
    torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("count", "accumulate"), [(2, 1), (2, 2)])
def test_workers_that_share_a_batch_learn_what_one_learns(count: int, accumulate: int) -> None:
    alone = Fit(Line(), LOOP, 3)
    wanted = losses(alone)
    barrier, table, found = Barrier(count), [[] for _ in range(count)], {}
    tasks = [Line() for _ in range(count)]
    with torch.no_grad():
        tasks[1].networks["net"][0].weight.add_(1)  # what rank 0 begins with is shared

    def work(rank: int) -> None:
        loop = LOOP.model_copy(update={"accumulate": accumulate})
        fit = Fit(tasks[rank], loop, 3, Together(rank, count, barrier, table))
        found[rank] = (losses(fit), weights(fit))

    threads = [Thread(target=work, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for terms, learned in found.values():
        assert terms == pytest.approx(wanted, rel=1e-5)
        assert_close(weights(alone), learned)
    assert all(torch.equal(found[1][1][name], value) for name, value in found[0][1].items())


def test_a_parameter_that_no_worker_uses_stays_as_it_is() -> None:
    table: list[list[Tensor]] = [[]]
    fit = Fit(Line(), LOOP, 3, Together(0, 1, Barrier(1), table))
    fit.workers.count = 1
    before = weights(fit)["unused.weight"]
    terms = fit._backward()
    learned = [parameter for group in fit.optimizer.param_groups for parameter in group["params"]]
    fit._average(learned, terms)
    assert fit.task.networks["unused"].weight.grad is None
    losses(fit)
    assert torch.equal(weights(fit)["unused.weight"], before)


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size 8 .* 1 worker\(s\) x accumulate 3 = 3 parts; .* e.g. 9"):
        Fit(Line(), LOOP.model_copy(update={"accumulate": 3}), 3)


def test_a_resumed_run_repeats_the_next_losses_exactly(tmp_path: Path) -> None:
    straight = Fit(Line(), LOOP, 3)
    straight.run(lambda _: None)
    stops: list[int] = []

    def keep(now: Fit) -> None:
        stops.append(now.step)
        now.save(tmp_path / "line.pt")

    Fit(Line(), LOOP, 3).run(keep, until_s=0)
    second = Fit(Line(), LOOP, 3)
    assert second.resume(tmp_path / "line.pt")
    second.run(keep)
    assert stops == [1, 5, 10, 12]
    assert all(torch.equal(weights(second)[name], value) for name, value in weights(straight).items())
    assert all(torch.equal(read_ema(tmp_path / "line.pt")[name], value) for name, value in straight.ema.items())
    assert second.curve[-1]["loss"] == straight.curve[-1]["loss"]
    assert [point["step"] for point in json.loads((tmp_path / "line_curve.json").read_text())] == stops


def test_a_checkpoint_of_the_first_version_is_read(tmp_path: Path) -> None:
    fit = Fit(Line(), LOOP, 3)
    wanted = losses(fit)
    begun = Fit(Line(), LOOP, 3)
    losses(begun, 3)
    old = {"step": 3, "networks": begun.task.networks.state_dict(), "ema": begun.ema, "curve": []}
    torch.save({**old, "optimizer": begun.optimizer.state_dict()}, tmp_path / "line.pt")
    again = Fit(Line(), LOOP, 3)
    assert again.resume(tmp_path / "line.pt")
    assert losses(again, 3) == wanted[3:]


def test_without_a_checkpoint_nothing_is_resumed(tmp_path: Path) -> None:
    fit = Fit(Line(), LOOP, 3)
    assert not fit.resume(tmp_path / "line.pt")
    assert fit.step == 0


def test_a_look_at_the_averaged_weights_changes_nothing() -> None:
    fit = Fit(Line(), LOOP, 3)
    losses(fit)
    fit.task.networks["unused"].eval()
    before = weights(fit)
    with fit.averaged() as networks:
        assert all(torch.equal(value, fit.ema[name]) for name, value in networks.state_dict().items())
        assert not networks["net"].training
    assert not torch.equal(before["net.0.weight"], fit.ema["net.0.weight"])
    assert all(torch.equal(value, before[name]) for name, value in weights(fit).items())
    assert (fit.task.networks["net"].training, fit.task.networks["unused"].training) == (True, False)


def test_each_step_has_numbers_of_its_own() -> None:
    first, again, other = (torch.rand(4, generator=generator(0, "line", step)) for step in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_rate_warms_up_and_falls_to_its_last_share() -> None:
    loop = LoopConfig(steps=100, warmup=10, final_lr=0.1)
    assert rate(0, loop) == 0.1
    assert rate(9, loop) == 1.0
    assert rate(55, loop) == pytest.approx(0.55)
    assert rate(100, loop) == pytest.approx(0.1)
