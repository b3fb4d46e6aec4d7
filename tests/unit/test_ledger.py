"""The ledger adds up, or says where it does not."""

import numpy as np
import pytest

from farm.config import PricesConfig
from farm.errors import RunError
from farm.ids import generator
from farm.ledger import Spent, acceptance_interval, build_ledger, stored_bytes


def run(n=12):
    """Rows 0..n-1: methods a, a, b in turn; defects hole and stain; verdicts kept, refused, failed in turn."""
    rows = np.arange(n, dtype=np.int64)
    candidates = {
        "row": rows,
        "method": np.array(["a", "a", "b"] * n, object)[:n],
        "recipe": np.array([""] * n, object),
        "category": np.array(["carpet"] * n, object),
        "defect": np.array(["hole"] * (n // 2) + ["stain"] * (n - n // 2), object),
        "evaluations": np.full(n, 10, np.int32),
        "bytes": np.full(n, 100, np.int64),
    }
    verdict = np.array(["kept", "refused", "kept", "failed"] * n, object)[:n]
    verdicts = {
        "row": rows,
        "verdict": verdict,
        "keep": verdict == "kept",
        "reason": np.where(verdict == "refused", np.where(rows < 5, "irrelevant", "unchanged"), "").astype(object),
    }
    return candidates, verdicts


def test_a_ledger_by_hand():
    candidates, verdicts = run()
    ledger = build_ledger(candidates, verdicts, Spent({"a": 8.0, "b": 2.0}))
    assert [(row.method, row.defect) for row in ledger] == [
        ("a", "hole"),
        ("a", "stain"),
        ("b", "hole"),
        ("b", "stain"),
    ]
    first = ledger[0]  # rows 0, 1, 3, 4: kept, refused, failed, kept
    assert (first.attempts, first.kept, first.refused, first.failed) == (4, 2, 1, 1)
    assert first.reasons == {"irrelevant": 1}
    assert (first.evaluations, first.bytes, first.device_s) == (40, 400, 4.0)
    assert (first.evaluations_per_kept, first.bytes_per_kept, first.device_s_per_kept) == (20.0, 200.0, 2.0)
    nothing = ledger[3]  # rows 8, 11: kept, failed
    assert (nothing.attempts, nothing.kept, nothing.failed, nothing.device_s) == (2, 1, 1, 1.0)


# card 000 7.9
def test_totals_are_those_of_the_run():
    candidates, verdicts = run(101)
    ledger = build_ledger(candidates, verdicts, Spent({"a": 3.0, "b": 0.7}))
    assert sum(row.attempts for row in ledger) == 101
    assert sum(row.kept for row in ledger) == verdicts["keep"].sum()
    assert sum(sum(row.reasons.values()) + row.failed + row.kept for row in ledger) == 101
    assert sum(row.device_s for row in ledger) == pytest.approx(3.7)
    assert sum(row.evaluations for row in ledger) == 1010


def test_the_order_of_rows_and_verdicts_does_not_matter():
    candidates, verdicts = run(60)
    expected = build_ledger(candidates, verdicts, Spent({"a": 3.0, "b": 0.7}))
    for seed in range(3):
        first, second = generator(seed, "first").permutation(60), generator(seed, "second").permutation(60)
        shuffled = {name: values[first] for name, values in candidates.items()}
        judged = {name: values[second] for name, values in verdicts.items()}
        assert build_ledger(shuffled, judged, Spent({"a": 3.0, "b": 0.7})) == expected


def test_cost_per_kept_is_none_where_nothing_was_kept():
    candidates, verdicts = run(2)
    candidates["method"][:] = ["a", "b"]
    only = build_ledger(candidates, verdicts, Spent({"a": 1.0, "b": 1.0}))[1]
    assert (only.kept, only.device_s_per_kept, only.evaluations_per_kept, only.bytes_per_kept) == (0, None, None, None)


@pytest.mark.parametrize("how", ["unknown", "keep"])
def test_verdicts_that_do_not_add_up_are_refused(how):
    candidates, verdicts = run()
    if how == "unknown":
        verdicts["verdict"][3] = "lost"
    else:
        verdicts["keep"][0] = False
    with pytest.raises(RunError, match=r"ledger: a//carpet/hole has 4 attempts but . to keep and verdicts .*judge"):
        build_ledger(candidates, verdicts, Spent({"a": 1.0, "b": 1.0}))


def test_rows_without_a_verdict_are_refused():
    candidates, verdicts = run()
    fewer = {name: values[:-1] for name, values in verdicts.items()}
    with pytest.raises(RunError, match=r"12 candidates and 11 verdicts do not pair up: row 11 is in one of them only"):
        build_ledger(candidates, fewer, Spent({"a": 1.0, "b": 1.0}))
    twice = {name: values[[*range(12), 0]] for name, values in verdicts.items()}
    with pytest.raises(RunError, match=r"a row stands twice"):
        build_ledger(candidates, twice, Spent({"a": 1.0, "b": 1.0}))


@pytest.mark.parametrize("device_s", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 5.0}])
def test_seconds_of_other_methods_are_refused(device_s):
    with pytest.raises(RunError, match=r"candidates come from \['a', 'b'\] but seconds are given for"):
        build_ledger(*run(), Spent(device_s))


def test_stored_bytes_count_all_pictures():
    pictures = {
        "source_png": np.array([b"1234", b""], object),
        "mask_png": np.array([b"12", b"1"], object),
        "image_png": np.array([b"123", b""], object),
        "label_png": np.array([b"1", b""], object),
    }
    assert stored_bytes(pictures).tolist() == [10, 1]


def test_embedding_and_money_are_counted_too():
    candidates, verdicts = run()
    spent = Spent({"a": 8.0, "b": 2.0}, {"a": 4.0, "b": 2.0})
    first = build_ledger(candidates, verdicts, spent, PricesConfig(device_hour=3600.0, embed_hour=36.0))[0]
    assert (first.device_s, first.embed_s, first.kept) == (4.0, 2.0, 2)
    assert first.money == pytest.approx(4.0 + 0.02)
    assert (first.device_s_per_kept, first.money_per_kept) == (3.0, pytest.approx(2.01))


def test_the_interval_of_a_cost_is_that_of_the_share_that_is_kept():
    candidates, verdicts = run()
    first = build_ledger(candidates, verdicts, Spent({"a": 8.0, "b": 2.0}))[0]  # 2 of 4 kept, 1 s each
    low, high = acceptance_interval(2, 4)
    assert first.device_s_per_kept_low == pytest.approx(1 / high)
    assert first.device_s_per_kept_high == pytest.approx(1 / low)
    assert first.device_s_per_kept_low < first.device_s_per_kept < first.device_s_per_kept_high


@pytest.mark.parametrize(
    ("kept", "attempts", "low", "high"),
    [(5, 10, 0.2366, 0.7634), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],  # Wilson's, tabulated
)
def test_wilsons_interval(kept, attempts, low, high):
    assert acceptance_interval(kept, attempts) == pytest.approx((low, high), abs=1e-4)
