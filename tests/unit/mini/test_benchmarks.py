"""What the benchmarks of the embedded models compute themselves: bars, sheets, balanced accuracy, tables."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import mini_grid, mini_kid, mini_pictures, mini_steering, mini_tables, tables
from farm.metrics import kid


def test_the_bar_is_twice_real_and_a_hundredth_and_chance_below_0_does_not_lower_it():
    assert mini_kid.allowed(0.02) == pytest.approx(0.05)
    assert mini_kid.allowed(-0.5) == pytest.approx(0.01)


def test_kid_of_surfaces_compares_each_with_itself_and_ranks_them():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(9, 3))
    x[::3] += 5  # rows 0, 3, ... of surface a are far off
    names, others = ["a", "b", "c"] * 4, ["a"] * 4 + ["b"] * 4 + ["c"]
    found = mini_kid.by_surface(x, names, y, others)
    assert list(found) == ["b", "a"]  # c has one row on one side
    assert found["a"] == pytest.approx(kid(x[::3], y[:4]))


def test_held_out_rows_are_functions_of_their_number():
    among = ("wood", "glass", "leather")
    whole, part = mini_pictures.held_out(0, 5, among), mini_pictures.held_out(3, 2, among)
    assert whole["normal"].surfaces == ["wood", "glass", "leather", "wood", "glass"]
    for kind in mini_pictures.KINDS:
        np.testing.assert_array_equal(part[kind].images, whole[kind].images[3:])
        assert part[kind].captions == whole[kind].captions[3:]
    assert all(
        bad.startswith(f"{good} with ") for good, bad in zip(*(one.captions for one in whole.values()), strict=True)
    )


def test_the_sheet_has_surfaces_in_rows_and_kinds_side_by_side():
    names = ["a", "b", "a", "b", "a"]
    normal = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    page = mini_grid.sheet({"normal": normal, "defect": normal + 100}, names, ["b", "a"])
    assert page[::2, ::2, 0].tolist() == [
        [2, 4, 255, 255, 102, 104, 255, 255],
        [1, 3, 5, 255, 101, 103, 105, 255],
    ]


def test_a_sheet_fits_its_limit_by_colours_and_then_by_size():
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    plain, coloured, small = (mini_grid.small_png(noise, most) for most in (10**6, 12_000, 3_000))
    assert Image.open(io.BytesIO(plain)).mode == "RGB"
    assert (Image.open(io.BytesIO(coloured)).mode, Image.open(io.BytesIO(coloured)).size) == ("P", (96, 64))
    assert len(coloured) <= 12_000
    assert len(small) <= 3_000
    assert Image.open(io.BytesIO(small)).size[0] < 96


def test_balanced_accuracy_weighs_both_answers_alike():
    truth = np.array([True, False, False, False])
    assert mini_steering.balanced(np.array([True, False, True, True]), truth) == pytest.approx((1 + 1 / 3) / 2)
    assert mini_steering.balanced(np.zeros(4, bool), truth) == 0.5
    assert np.isnan(mini_steering.balanced(truth[1:], truth[1:]))


def test_figures_of_steering_are_by_surface_and_over_all():
    names = np.array(["a", "a", "b", "b"])
    truth, said = np.array([True, False] * 2), np.array([True, False, False, True])
    found = mini_steering.measure("real", np.array([True, True, True, False]), said, truth, names)
    assert {key: figure["value"] for key, figure in found.items()} == {
        "real.surface": 0.75,
        "real.defect": 0.5,
        "real.surface.a": 1.0,
        "real.defect.a": 1.0,
        "real.surface.b": 0.5,
        "real.defect.b": 0.0,
    }
    assert found["real.surface"]["low"] < 0.75 < found["real.surface"]["high"]


def figures(**values):
    return {
        key.replace("__", "."): mini_pictures.number(value, "1", value / 2, 2 * value) for key, value in values.items()
    }


def told(given):
    machine = {"cpu": "a processor", "cpus": 2, "load_1min": 0.1}
    return {"figures": given, "command": "python x", "commit": "abc", "n": 7, "machine": machine}


def test_the_table_of_kid_names_the_ends_of_its_surfaces():
    given = {}
    for kind in ("normal", "defect"):
        for end in ("", "__real", "__round_trip"):
            given |= {f"{kind}__kid{end}": 0.02, f"{kind}__fid{end}": 12.34, f"{kind}__diversity{end}": 0.5}
    given |= {f"normal__surface__s{place}": place / 10 for place in range(9)}
    page = mini_tables.kid(told(figures(**given)))
    assert "| normal | generated | 20.0 ± 15.0 | 12.3 | 0.50 |" in page
    assert "normal, KID x 1000 by surface: nearest s0 0, s1 100, s2 200; farthest s6 600, s7 700, s8 800." in page
    assert page.endswith("`python x`, commit abc, n = 7.\n")


def test_the_other_tables_show_their_figures():
    page = mini_tables.inversion(told(figures(error__deeppcb__empty=0.004)))
    assert "| deeppcb | empty | 0.40 | 0.20, 0.80 |" in page
    page = mini_tables.speed(told(figures(generate__two_threads=1.5)))
    assert "| generate, one process of two threads | 1.50 | 0.75, 3.00 |" in page
    both = {f"{source}__{key}": 0.5 for source in ("generated", "real") for key in ("surface", "defect")}
    each = {f"{source}__{key}__wood": 0.25 for source in ("generated", "real") for key in ("surface", "defect")}
    page = mini_tables.steering(told(figures(**both, **each)))
    assert "| generated | 50.0 (25.0 to 100.0) | 50.0 (25.0 to 100.0) |" in page
    assert "| wood | 25 (25) | 25 (25) |" in page
    assert "| a b | 0.25 | 0.125, 0.5 |" in mini_tables.clip(told(figures(a_b=0.25)))


def test_a_benchmark_that_was_never_run_has_no_table(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    for name in mini_tables.TABLES:
        assert tables.render(f"<!-- table:{name} -->\nold\n<!-- end -->") == f"<!-- table:{name} -->\n<!-- end -->"
