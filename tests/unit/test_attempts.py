import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm import attempts
from farm.attempts import MOST_DEATHS, MOST_STARTS, batches, begin, blamed
from farm.errors import RunError
from farm.store import Store


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def work(store: Store, rows: Sequence[int], size: int, killers: set[int], driver: str = "a") -> list[int] | None:
    """One worker at shard 5: the rows it made in order, or None where a row of ``killers`` killed it."""
    attempt = begin(store, 5, "generate", "worker", driver)
    ready = [row for row in rows if row not in attempt.blame.poisoned]
    for batch in batches(ready, size, attempt.blame.alone):
        attempt.hold(batch)
        if killers & set(batch):
            return None
    attempt.end("made")
    return ready


def test_the_row_that_kills_is_found_among_its_shard_and_all_others_are_made(store: Store) -> None:
    rows, lives = range(40, 72), 0
    made = None
    while made is None:
        made = work(store, rows, 8, {53}, driver=f"driver {lives}")  # each death takes the driver with it
        lives += 1
    assert made == [row for row in rows if row != 53]
    assert lives == 2 + MOST_DEATHS + 1  # unaware, in a batch, alone three times, without it


def test_two_killers_in_one_batch_are_both_found(store: Store) -> None:
    made, lives = None, 0
    while made is None:
        made = work(store, range(16), 8, {2, 3})
        lives += 1
    assert made == [row for row in range(16) if row not in (2, 3)]
    assert lives == 2 + 2 * MOST_DEATHS + 1


def test_a_worker_killed_from_outside_poisons_no_row(store: Store) -> None:
    for row in range(6):  # each time another row was in hand
        attempt = begin(store, 1, "generate", "worker", "a")
        attempt.hold([row])
    last = begin(store, 1, "generate", "worker", "a")
    assert last.number == 7
    assert not last.blame.poisoned
    assert last.blame.alone == set(range(1, 6))  # the first attempt notes no rows


def test_attempts_of_a_driver_that_was_stopped_blame_nobody(store: Store) -> None:
    for _ in range(5):
        begin(store, 1, "generate", "worker", "first").hold([7])
    attempts.stop(store, "first")
    assert begin(store, 1, "generate", "worker", "second").blame == attempts.Blame()


def test_an_attempt_that_ended_by_itself_is_no_death(store: Store) -> None:
    begin(store, 1, "embed", "worker", "a").end("stumbled")
    assert begin(store, 1, "embed", "worker", "a").blame.dead == 0


def test_stages_and_shards_are_counted_apart_and_a_committed_shard_leaves_only_numbers(store: Store) -> None:
    begin(store, 1, "generate", "worker", "a")
    begin(store, 1, "embed", "worker", "a")
    begin(store, 1, "embed", "worker", "a")
    begin(store, 2, "generate", "worker", "a")
    assert attempts.counts(store) == {1: 3, 2: 1}
    assert attempts.taken(store, 1) == {"embed": 2, "generate": 1}
    attempts.clear(store, 1)
    assert attempts.counts(store) == {2: 1}
    assert begin(store, 1, "embed", "worker", "a").number == 1


def test_workers_that_die_before_any_row_end_the_run_with_words_but_not_the_next_one(store: Store) -> None:
    for _ in range(MOST_STARTS):
        begin(store, 3, "generate", "w7", "first")
    with pytest.raises(RunError, match=r"shard 3: 8 workers died in 'generate'.*w7.*memory_gib"):
        begin(store, 3, "generate", "w8", "first")
    begin(store, 3, "generate", "w8", "second")  # after the cause was mended


@given(
    rows=st.lists(st.integers(0, 99), unique=True, min_size=1),
    size=st.integers(1, 9),
    alone=st.sets(st.integers(0, 99)),
)
def test_batches_hold_every_row_once_in_order_and_suspects_alone(rows: list[int], size: int, alone: set[int]) -> None:
    parts = batches(rows, size, alone)
    assert [row for part in parts for row in part] == rows
    assert all(1 <= len(part) <= size for part in parts)
    assert all(len(part) == 1 for part in parts if alone & set(part))
    free = [row for row in rows if row not in alone]
    if len(free) == len(rows):
        assert len(parts) == -(-len(rows) // size)


def test_of_no_history_nothing_is_said() -> None:
    assert blamed([]) == attempts.Blame()
