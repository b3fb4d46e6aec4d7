"""Each question of the judge has its histogram, with the threshold that was used and no other."""

from dataclasses import replace

import numpy as np
import pytest

from farm.report.gates import gate_charts
from farm.report.inputs import Inputs, read_inputs
from tests.factories import make_run_folder

ALWAYS = 6  # score, area, mean change, contrast, grain, structure


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return read_inputs(make_run_folder(tmp_path_factory.mktemp("gates")))


def scored(inputs: Inputs, **columns: float) -> Inputs:
    count = len(inputs.samples["row"])
    return replace(inputs, samples={**inputs.samples, **{name: np.full(count, at) for name, at in columns.items()}})


def known(inputs: Inputs, **thresholds: float) -> Inputs:
    return replace(inputs, calibration={**inputs.calibration, **thresholds})


def test_what_was_not_asked_has_no_chart(inputs: Inputs) -> None:
    charts = gate_charts(inputs)
    assert len(charts) == ALWAYS
    assert not any("crop" in chart or "prompt" in chart for chart in charts)
    everything = scored(inputs, crop_score=0.7, grid_score=0.8, text_margin=0.1)
    assert len(gate_charts(everything)) == ALWAYS + 3


def test_a_chart_names_the_threshold_that_the_judge_used(inputs: Inputs) -> None:
    assert "irrelevant below 0.700" in gate_charts(inputs)[0]
    assert "too noisy" not in "".join(gate_charts(inputs))
    told = "".join(gate_charts(known(scored(inputs, crop_score=0.7), crop_low=0.612, max_grain=12.5)))
    assert "implausible below 0.612" in told
    assert "too noisy above 12.5" in told
    assert "strange" not in told


def test_rows_that_are_not_numbers_are_left_out(inputs: Inputs) -> None:
    values = np.full(len(inputs.samples["row"]), np.nan)
    holed = replace(inputs, samples={**inputs.samples, "score": values})
    assert len(gate_charts(holed)) == ALWAYS - 1
