"""The parts of the chaos harness that need no cluster: what it draws, what it finds, how its proxy fails."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from farm.parts import from_parquet, to_parquet
from tests.chaos.compare import committed, compare, look
from tests.chaos.monkey import damaged, picked
from tests.chaos.places import Disk
from tests.chaos.proxy import SLOW_S, Fate, Faults, Reply, Request, answer, draw_fate
from tests.chaos.scenario import CORRUPTIONS, KINDS, ONLY_ON, TWO_NODES, Blow, Scenario, draw

ROWS, SHARDS = 4, 3
PUT = Request("PUT", "/farm/run/part.parquet", [], b"bytes")


def part(shard: int) -> pa.Table:
    rows = range(shard * ROWS, (shard + 1) * ROWS)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(np.float32(rows), 2)), 2)
    return pa.table(
        {"sample_id": [f"id{row}" for row in rows], "image_png": [bytes([row]) for row in rows], "vector": vectors}
    )


def commit(disk: Disk, shard: int, table: pa.Table) -> None:
    folder = Path(disk.url) / f"candidates/shard-{shard:06d}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "part.parquet").write_bytes(to_parquet(table))
    (folder / "done.json").write_text("{}")


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Disk]:
    """Makes a place with a small finished run."""

    def disk(name: str) -> Disk:
        made = Disk(tmp_path / name)
        for shard in range(SHARDS):
            commit(made, shard, part(shard))
        return made

    return disk


# the scenario


def test_a_scenario_is_a_function_of_seed_and_trial() -> None:
    trials = [draw(1, trial) for trial in range(40)]
    assert trials == [draw(1, trial) for trial in range(40)]
    assert len({scenario.blows for scenario in trials}) == 40
    assert draw(2, 0).blows != draw(1, 0).blows


def test_fifty_trials_strike_with_every_kind_on_every_store() -> None:
    trials = [draw(1, trial) for trial in range(50)]
    assert {blow.kind for scenario in trials for blow in scenario.blows} == set(KINDS)
    assert Counter(scenario.store for scenario in trials).keys() == {"local", "s3", "tmpfs"}
    assert {scenario.nodes for scenario in trials} == {0, 1, 2, 3}


@pytest.mark.parametrize("only", [(), ("fill_disk",), ("cut_store", "kill_node"), ("kill_node",), CORRUPTIONS])
def test_a_blow_is_drawn_only_where_it_can_strike(only: tuple[str, ...]) -> None:
    for trial in range(60):
        scenario = draw(3, trial, only)
        kinds = [blow.kind for blow in scenario.blows]
        assert 1 <= len(kinds) <= 4
        assert not only or set(kinds) <= set(only)
        assert all(ONLY_ON.get(kind, scenario.store) == scenario.store for kind in kinds)
        assert scenario.nodes > 1 or not set(kinds) & set(TWO_NODES)
        assert [blow.at for blow in scenario.blows] == sorted(blow.at for blow in scenario.blows)


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no such kind of blow: kill_moon; there are kill_generate, "):
        draw(1, 0, ("kill_moon",))


# the comparison


def test_equal_folders_are_identical(make: Callable[[str], Disk]) -> None:
    wanted = look(make("a"))
    assert len(wanted.rows) == ROWS * SHARDS
    assert compare(wanted, look(make("b"))).identical


def test_a_missing_row_is_found(make: Callable[[str], Disk]) -> None:
    wanted, disk = look(make("a")), make("b")
    commit(disk, 1, part(1).slice(0, ROWS - 1))
    difference = compare(wanted, look(disk))
    assert difference.missing == ("id7",)
    assert (difference.duplicate, difference.alien, difference.differing) == ((), (), ())
    assert not difference.identical


def test_rows_without_a_marker_are_missing(make: Callable[[str], Disk]) -> None:
    wanted, disk = look(make("a")), make("b")
    disk.delete("candidates/shard-000002/done.json")
    assert compare(wanted, look(disk)).missing == ("id10", "id11", "id8", "id9")
    assert committed(disk) == [0, 1]


def test_a_row_that_is_there_twice_is_found(make: Callable[[str], Disk]) -> None:
    wanted, disk = look(make("a")), make("b")
    commit(disk, 3, part(0).slice(2, 1))
    difference = compare(wanted, look(disk))
    assert difference.duplicate == ("id2",)
    assert difference.files == ("candidates/shard-000003/part.parquet",)


def test_a_changed_byte_of_a_picture_is_found(make: Callable[[str], Disk]) -> None:
    wanted, disk = look(make("a")), make("b")
    table = from_parquet(disk.read("candidates/shard-000001/part.parquet"))
    pictures = [b"\0", *table["image_png"].to_pylist()[1:]]
    commit(disk, 1, table.set_column(1, "image_png", pa.array(pictures)))
    difference = compare(wanted, look(disk))
    assert difference.differing == ("id4",)
    assert difference.files == ("candidates/shard-000001/part.parquet",)


def test_a_row_of_no_plan_is_found(make: Callable[[str], Disk]) -> None:
    wanted, disk = look(make("a")), make("b")
    commit(disk, 2, part(9))
    difference = compare(wanted, look(disk))
    assert difference.alien == ("id36", "id37", "id38", "id39")
    assert len(difference.missing) == ROWS


def test_other_verdicts_are_found(make: Callable[[str], Disk]) -> None:
    wanted, disk = look(make("a")), make("b")
    folder = Path(disk.url) / "verdicts/0123"
    folder.mkdir(parents=True)
    (folder / "verdicts.parquet").write_bytes(b"verdicts")
    assert compare(wanted, look(disk)).files == ("verdicts/0123/verdicts.parquet",)


@pytest.mark.parametrize("kind", ["flip_part", "truncate_part"])
@pytest.mark.parametrize("pick", [0.0, 0.5, 0.999])
def test_a_damaged_part_is_never_the_part(make: Callable[[str], Disk], kind: str, pick: float) -> None:
    wanted, disk = look(make("a")), make("b")
    name = "candidates/shard-000000/part.parquet"
    disk.write(name, damaged(disk.read(name), Blow(kind, 0.5, 0, 0, pick)))
    assert compare(wanted, look(disk)).files == (name,)


def test_a_victim_is_picked_from_those_there_are() -> None:
    assert [picked("abc", pick) for pick in (0.0, 0.34, 0.999)] == ["a", "b", "c"]
    assert picked([], 0.5) is None


# the proxy


def reply(_: Request) -> Reply:
    return Reply(200, [("ETag", "1")], b"stored")


def test_the_fate_of_a_request_is_a_function_of_seed_and_number() -> None:
    fates = [draw_fate(7, number, "errors") for number in range(200)]
    assert fates == [draw_fate(7, number, "errors") for number in range(200)]
    assert {fate.error[0] for fate in fates if fate.error} == {500, 503}
    assert 70 < sum(fate.error is not None for fate in fates) < 130


def test_modes_do_what_they_say() -> None:
    faults = Faults(1)
    assert {faults.fate() for _ in range(20)} == {Fate()}
    faults.mode = "drop"
    assert {faults.fate().drop for _ in range(50)} == {"", "before", "after"}
    faults.mode = "slow"
    assert all(SLOW_S[0] <= faults.fate().slow_s <= SLOW_S[1] for _ in range(20))
    faults.mode = "refuse"
    assert {faults.fate() for _ in range(20)} == {Fate(drop="before")}
    assert sum(faults.counts.values()) == 110
    assert faults.counts["slow"] == 20


def test_an_error_never_reaches_the_store() -> None:
    def store(_: Request) -> Reply:
        raise AssertionError("the store was asked")

    given = answer(PUT, Fate(error=(503, "SlowDown")), store, lambda _: None)
    assert given is not None
    assert given.status == 503
    assert b"<Code>SlowDown</Code>" in given.body
    head = answer(Request("HEAD", "/farm/x", [], b""), Fate(error=(500, "InternalError")), store, lambda _: None)
    assert head == Reply(500, [("Content-Type", "application/xml")], b"")
    assert answer(PUT, Fate(drop="before"), store, lambda _: None) is None


def test_a_connection_dropped_after_it_has_stored() -> None:
    stored: list[Request] = []

    def store(request: Request) -> Reply:
        stored.append(request)
        return reply(request)

    assert answer(PUT, Fate(drop="after"), store, lambda _: None) is None
    assert stored == [PUT]


def test_slowness_is_a_wait_before_the_store_is_asked() -> None:
    waited: list[float] = []
    assert answer(PUT, Fate(slow_s=0.7), reply, waited.append) == reply(PUT)
    assert answer(PUT, Fate(), reply, waited.append) == reply(PUT)
    assert waited == [0.7]


def test_a_scenario_tells_itself_in_a_line() -> None:
    blows = (Blow("stop_actor", 0.25, 1, 2, 0.5, "Embed"), Blow("kill_driver", 0.5, 1, 2, 0.5))
    assert str(Scenario(1, 2, "s3", 0, blows)) == "s3, own raylet(s): stop_actor:Embed@0.25 kill_driver@0.50"
