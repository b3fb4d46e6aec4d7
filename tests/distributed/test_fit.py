"""Any task on a real local Ray: two workers learn what one learns, and a training that ended early goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from torch import Tensor

from cluster.calls import Call
from cluster.fit import Fitted, Training, fit, is_fitted
from farm.config import PoolConfig
from farm.config.loop import LoopConfig
from farm.errors import ConfigError, ResourceError
from farm.fitting.loop import Fit, read_ema
from farm.images import decode_image
from tests.fits import Line, tiny_recipe

pytestmark = [pytest.mark.usefixtures("ray_local"), pytest.mark.timeout(600)]

LOOP = LoopConfig(steps=12, batch_size=8, lr=3e-2, warmup=2, checkpoint_every=5, bf16=False, ema=0.9)


def line(folder: Path, name: str = "line", **arguments: object) -> Training:
    show = Call("tests.fits:show_line", {"size_px": 8})
    return Training(name, Call("tests.fits:build_line", arguments), LOOP, 3, str(folder), show)


def assert_close(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def alone() -> Fit:
    """What one process without Ray learns."""
    wanted = Fit(Line(), LOOP, 3)
    wanted.run(lambda _: None)
    return wanted


def test_two_workers_learn_what_one_learns(alone: Fit, tmp_path: Path) -> None:
    told: list[int] = []
    done = fit(line(tmp_path), PoolConfig(actors=2), lambda step, _: told.append(step))
    assert (done.step, done.skipped) == (12, False)
    assert_close(alone.ema, read_ema(tmp_path / "line.pt"))
    assert [point["step"] for point in done.curve] == [5, 10, 12]
    assert done.curve[-1]["loss"] == pytest.approx(alone.curve[-1]["loss"], rel=1e-5)
    assert json.loads((tmp_path / "line_curve.json").read_text()) == done.curve
    pictures = {path.name: decode_image(path.read_bytes(), path.name) for path in tmp_path.glob("*.png")}
    assert {name: int(np.unique(picture)[0]) for name, picture in pictures.items()} == {
        "line_000005.png": 5,
        "line_000010.png": 10,
        "line_000012.png": 12,
    }
    assert set(told) <= {5, 10, 12}
    assert fit(line(tmp_path), PoolConfig(actors=2)) == Fitted(12, done.curve, 0.0, skipped=True)


def test_a_training_that_ended_early_goes_on_under_its_name(alone: Fit, tmp_path: Path) -> None:
    from ray.train import TrainingFailedError

    log = tmp_path / "steps.log"
    training = line(tmp_path, log=log, ends_at=7)
    with pytest.raises(TrainingFailedError, match="the worker ends here"):
        fit(training, PoolConfig(), max_failures=0)
    assert not is_fitted(training)
    (tmp_path / "go").touch()
    done = fit(training, PoolConfig(), max_failures=0)
    assert [int(step) for step in log.read_text().split()] == [*range(7), *range(5, 12)]
    found = torch.load(tmp_path / "line.pt", weights_only=True)
    assert all(torch.equal(found["ema"][name], value) for name, value in alone.ema.items())
    assert all(torch.equal(found["networks"][name], value) for name, value in alone.task.networks.state_dict().items())
    assert [point["loss"] for point in done.curve] == [point["loss"] for point in alone.curve]


def test_what_cannot_be_done_is_refused_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size 8 cannot be shared equally by 3 worker"):
        fit(line(tmp_path), PoolConfig(actors=3))
    with pytest.raises(ResourceError, match=r"line asks for 4 x 2 CPUs; the cluster has 4"):
        fit(line(tmp_path), PoolConfig(actors=4, cpus=2))
    assert not list(tmp_path.iterdir())


def test_fit_mini_writes_a_folder_that_diffusers_loads(tmp_path: Path) -> None:
    from farm.config import ComputeConfig, ModelConfig
    from farm.diffusion.backbone import load_backbone
    from jobs.fit_mini import command

    recipe, build, out = tmp_path / "recipe.yaml", tmp_path / "build", tmp_path / "out"
    recipe.write_text(yaml.safe_dump(tiny_recipe(steps=4).model_dump(mode="json")))
    asked = [str(recipe), "--folder", str(build), "--out", str(out), "--only", "unet", "--json"]
    done = CliRunner().invoke(command, asked, catch_exceptions=False)
    assert json.loads(done.stdout) == {"vae": str(build / "vae.pt"), "diffusion": str(out / "diffusion")}
    backbone = load_backbone(ModelConfig(path=str(out / "diffusion")), ComputeConfig())
    assert (backbone.factor, backbone.latent_channels) == (8, 4)
    learned = read_ema(build / "unet.pt")["unet.conv_in.weight"]
    torch.testing.assert_close(backbone.unet.conv_in.weight, learned.half().float())
    for network, size in (("vae", (64, 16 * 32)), ("unet", (4 * 32, 8 * 32))):
        assert [point["step"] for point in json.loads((build / f"{network}_curve.json").read_text())] == [4]
        picture = decode_image((build / f"{network}_000004.png").read_bytes(), network)
        assert picture.shape[:2] == size
        assert picture.std() > 1
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    CliRunner().invoke(command, asked, catch_exceptions=False)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
