"""Card 004 section 7 on random networks of the real classes: promises that hold for any weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from farm.config import AdaBldmConfig, Run, parse
from farm.diffusion.ddim import add_noise, clean, move
from farm.diffusion.latents import latent_mask
from farm.diffusion.schedule import Level
from farm.errors import WeightsError
from farm.methods import adabldm_trimap, refine
from farm.methods.adabldm import CONTROL, AdaBldm
from farm.methods.adabldm_stages import Editor, grow, plan_stages, sample_staged
from farm.methods.adabldm_trimap import Foreground, discriminant, fit_foreground, read_foreground, trimap, two_means
from farm.methods.base import Request
from tests.tiny import noise, surface, toy

ROWS, SIZE, STEPS = 4, 64, 10


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    tree = {
        "name": "tiny",
        "output": "nowhere",
        "rows": ROWS,
        "size_px": SIZE,
        "data": {"kind": "textile", "category": "textile"},
        "prompts": {"normal": "cloth", "defects": [{"name": "hole", "prompt": "a hole"}]},
        "model": {"path": str(folder)},
        "methods": [{"kind": "adabldm"}],
    }
    return parse(tree, "tiny")


def method(run: Run, adapter: dict[str, Tensor] | None = None, **settings: Any) -> AdaBldm:
    quick = {"iterations": 2, "lr": 1e-4, **settings.pop("adapt", {})}
    return AdaBldm(AdaBldmConfig(**{"steps": STEPS, "adapt": quick, **settings}), run, adapter=adapter or {})


@pytest.fixture(scope="module")
def branch(run: Run) -> dict[str, Tensor]:
    """An adapter whose branch is not silent."""
    state = method(run).backbone.control(seed=3).state_dict()
    generator = torch.Generator().manual_seed(0)
    return {
        f"{CONTROL}{name}": value + 0.02 * torch.randn(value.shape, generator=generator)
        for name, value in state.items()
    }


@pytest.fixture(scope="module")
def request_() -> Request:
    masks = np.zeros((ROWS, SIZE, SIZE), np.uint8)
    for row in range(ROWS):
        masks[row, 8 + 3 * row : 24 + 3 * row, 10 + row : 30 + row] = 1
    prompts = tuple(f"a hole {row % 3}" for row in range(ROWS))
    seeds = np.arange(ROWS, dtype=np.int64) + 100
    return Request(surface(ROWS, SIZE), masks, seeds, ("",) * ROWS, prompts, ("cloth",) * ROWS)


def rows_of(request: Request, rows: list[int]) -> Request:
    some = {name: tuple(getattr(request, name)[row] for row in rows) for name in ("recipe", "prompt", "normal_prompt")}
    return Request(request.source[rows], request.mask[rows], request.seed[rows], **some)


# card 004 7.1
def test_a_trimap_has_three_levels_and_the_defect_wins() -> None:
    rng = np.random.default_rng(0)
    mask, part = rng.integers(0, 2, (3, 8, 8), np.uint8), rng.integers(0, 2, (3, 8, 8)).astype(bool)
    made = trimap(mask, part)
    assert made.shape == (3, 3, 8, 8)
    assert made.dtype == torch.float32
    for row, y, x in np.ndindex(3, 8, 8):
        wanted = 1.0 if mask[row, y, x] else 0.5 if part[row, y, x] else 0.0
        assert made[row, :, y, x].tolist() == [wanted] * 3
    assert set(made.unique().tolist()) == {0.0, 0.5, 1.0}


# card 004 7.1
def test_the_hint_of_a_texture_has_two_levels(run: Run, request_: Request, branch: dict[str, Tensor]) -> None:
    hint = method(run, branch).hint(request_.source, request_.mask)
    assert set(hint.unique().tolist()) == {0.5, 1.0}
    np.testing.assert_array_equal((hint[:, 0] == 1).numpy(), request_.mask == 1)
    whole = Foreground(np.zeros(24), 0.0, 1.0).tensors()
    none = method(run, {**branch, **whole}, texture=False).hint(request_.source, request_.mask)
    assert set(none.unique().tolist()) == {0.0, 1.0}


# card 004 7.3
@pytest.mark.parametrize(
    ("preset", "steps", "free", "latent", "image", "both"),
    [
        ("paper", 50, 20, 25, 5, 0),
        ("code", 50, 26, 20, 5, 1),
        ("paper", 100, 40, 50, 10, 0),
        ("code", 100, 52, 39, 10, 1),
        ("paper", 20, 8, 10, 2, 0),
        ("code", 20, 10, 9, 2, 1),
        ("paper", 10, 4, 5, 1, 0),
        ("code", 10, 5, 5, 1, 1),
    ],
)
def test_stages_have_their_counts(preset: Any, steps: int, free: int, latent: int, image: int, both: int) -> None:
    stages = plan_stages(preset, steps)
    executed = range(steps)
    assert [sum(step in part for step in executed) for part in (stages.latent, stages.image)] == [latent, image]
    assert sum(step not in stages.latent and step not in stages.image for step in executed) == free
    assert sum(step in stages.latent and step in stages.image for step in executed) == both


# card 004 7.3
@pytest.mark.parametrize(("preset", "first", "last"), [("paper", 20, 44), ("code", 26, 45)])
def test_each_stage_begins_and_ends_at_its_step(preset: Any, first: int, last: int) -> None:
    stages = plan_stages(preset, 50)
    edits: dict[str, list[int]] = {"latent": [], "image": []}

    class Spy(Editor):
        def latent(self, z: Tensor, here: Level, step: int) -> Tensor:
            assert here == levels[50 - step]
            edits["latent"].append(step)
            return z

        def image(self, z0: Tensor, here: Level, there: Level, step: int) -> Tensor:
            assert (here, there) == (levels[50 - step], levels[49 - step])
            edits["image"].append(step)
            return z0

    levels = [Level(step - 1, 0.999 - 0.0199 * step) for step in range(51)]
    asked: list[Level] = []

    def predict(z: Tensor, level: Level) -> Tensor:
        asked.append(level)
        return torch.zeros_like(z)

    sample_staged(predict, noise(1, 4, 2, 2), levels, stages, Spy(*[None] * 7, "prev"))  # type: ignore[arg-type]
    assert edits == {"latent": list(range(first, last + 1)), "image": list(range(45, 50))}
    assert asked == levels[:0:-1]


def editor(renoise_to: Any = "prev", bend: float = 1.0) -> Editor:
    """4 x 4 latents of an identity autoencoder with 3 channels; ``bend`` spoils what is decoded."""
    mask = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[0, 0, 1:3, 1] = mask[1, 0, 3, 3] = True
    x_ok = noise(2, 3, 4, 4, seed=5).clamp(-1, 1)

    def draw(purpose: str, step: int) -> Tensor:
        return noise(2, 3, 4, 4, seed=step + {"latent": 100, "image": 200}[purpose])

    return Editor(x_ok, x_ok, mask, grow(mask, 1), lambda x: x, lambda z: bend * z, draw, renoise_to)


def eps_of(z: Tensor, level: Level) -> Tensor:
    return toy(torch.cat([z, z[:, :1]], dim=1), level)[:, :3]


LEVELS = [Level(-1, 0.99), *(Level(100 * step, 0.99 - 0.08 * step) for step in range(1, 11))]


# card 004 7.4
def test_before_the_network_the_background_latent_is_the_noised_photograph() -> None:
    edit, stages = editor(), plan_stages("paper", 10)
    seen: list[tuple[Tensor, Level]] = []

    def predict(z: Tensor, level: Level) -> Tensor:
        seen.append((z, level))
        return eps_of(z, level)

    start = noise(2, 3, 4, 4)
    sample_staged(predict, start, LEVELS, stages, edit)
    outside = ~edit.cells.expand_as(edit.z_ok)
    assert torch.equal(seen[0][0], start)
    for step, (z, level) in enumerate(seen):
        wanted = add_noise(edit.z_ok, edit.noise("latent", step), level.abar)
        assert torch.equal(z[outside], wanted[outside]) == (step in stages.latent)
        if step:
            before, above = seen[step - 1]
            moved = move(before, eps_of(before, above), above.abar, level.abar)
            assert torch.equal(z[~outside], moved[~outside])


# card 004 7.4
def test_the_latent_mask_grows_by_cells_and_the_label_does_not() -> None:
    m = torch.zeros(1, 1, 6, 6, dtype=torch.bool)
    m[0, 0, 2, 3] = True
    assert grow(m, 0).nonzero().tolist() == [[0, 0, 2, 3]]
    assert grow(m, 1)[0, 0].nonzero().tolist() == [[y, x] for y in (1, 2, 3) for x in (2, 3, 4)]
    assert grow(m, 2).sum() == 25


# card 004 7.5
def test_the_composite_is_the_photograph_outside_the_mask_and_the_image_inside() -> None:
    edit = editor(bend=0.5)
    made, outside = edit.pixels(noise(2, 3, 4, 4, seed=8)), ~edit.mask.expand(2, 3, 4, 4)
    assert torch.equal(made[outside], edit.x_ok[outside])
    assert torch.equal(made[~outside], (0.5 * noise(2, 3, 4, 4, seed=8)).clamp(-1, 1)[~outside])


# card 004 7.5
@pytest.mark.parametrize("preset", ["paper", "code"])
def test_with_an_identity_autoencoder_the_background_comes_back_exactly(preset: Any) -> None:
    edit = editor()
    made = sample_staged(eps_of, noise(2, 3, 4, 4), LEVELS, plan_stages(preset, 10), edit)
    outside = ~edit.mask.expand_as(made)
    assert torch.equal(made[outside], edit.x_ok[outside])
    assert not torch.equal(made, edit.x_ok)


# card 004 7.5
def test_renoising_goes_to_the_level_that_follows_or_to_the_one_just_left() -> None:
    z0, (clean_level, low, high) = noise(2, 3, 4, 4, seed=4), LEVELS[:3]
    for renoise_to, level in (("prev", low), ("cur", high)):
        edit = editor(renoise_to)
        wanted = add_noise(edit.pixels(z0), edit.noise("image", 7), level.abar)
        assert torch.equal(edit.image(z0, high, low, 7), wanted)
    assert torch.equal(editor("prev").image(z0, low, clean_level, 9), editor().pixels(z0))
    late = editor("cur")
    left = late.image(z0, low, clean_level, 9)  # the released code: the last latent is still noisy
    assert torch.equal(left, add_noise(late.pixels(z0), late.noise("image", 9), low.abar))


# card 004 7.5
def test_image_editing_reads_the_predicted_clean_latent() -> None:
    edit, stages = editor(), plan_stages("paper", 10)
    last: dict[str, Tensor] = {}

    def predict(z: Tensor, level: Level) -> Tensor:
        last["z0"] = clean(z, eps_of(z, level), level.abar)
        return eps_of(z, level)

    made = sample_staged(predict, noise(2, 3, 4, 4), LEVELS, stages, edit)
    assert torch.equal(made, edit.pixels(last["z0"]))


# card 004 7.10
def test_where_both_halves_agree_guidance_does_nothing(run: Run, request_: Request, branch: dict[str, Tensor]) -> None:
    empty = replace(request_, prompt=("",) * ROWS)
    made = [method(run, branch, guidance=guidance).latents(empty)[0] for guidance in (9.0, 2.0, 1.0)]
    assert torch.equal(made[0], made[1])
    torch.testing.assert_close(made[2], made[0], rtol=0, atol=1e-4)
    asked = [method(run, branch, guidance=guidance).latents(request_)[0] for guidance in (9.0, 2.0)]
    assert (asked[0] - asked[1]).abs().max() > 1e-3


# card 004 7.2
def test_a_fresh_branch_changes_no_bit_and_a_trained_one_does(
    run: Run, request_: Request, branch: dict[str, Tensor]
) -> None:
    plain = method(run)
    fresh = {f"{CONTROL}{name}": value for name, value in plain.backbone.control(seed=1).state_dict().items()}
    without = plain.latents(request_)[0]
    assert torch.equal(method(run, fresh).latents(request_)[0], without)
    moved = method(run, branch).latents(request_)[0]
    assert not torch.equal(moved, without)
    assert torch.equal(method(run, branch, control_scale=0.0).latents(request_)[0], without)


def test_the_branch_reads_the_hint(run: Run, request_: Request, branch: dict[str, Tensor]) -> None:
    build = method(run, branch)
    z, level = noise(ROWS, 4, 8, 8).float(), build.levels[5]
    residuals = [
        build.backbone.control_residuals(build.branch, z, level.time, None, hint)[1]
        for hint in (
            build.hint(request_.source, request_.mask),
            build.hint(request_.source, request_.mask[::-1].copy()),
        )
    ]
    assert not torch.equal(*residuals)


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_only_the_dilated_mask_changes(run: Run, request_: Request, preset: str) -> None:
    made = method(run, preset=preset)(request_)
    assert made.error == ("",) * ROWS
    assert made.image.dtype == made.label.dtype == np.uint8
    for row in range(ROWS):
        outside = refine.dilate(request_.mask[row], 3) == 0
        np.testing.assert_array_equal(made.image[row][outside], request_.source[row][outside])
        assert (made.image[row] != request_.source[row]).any()
        assert (made.label[row] <= request_.mask[row]).all()
        assert made.label[row].any()
    assert (made.background_error > 0).all()


def test_without_composite_the_adapted_image_comes_out(run: Run, request_: Request) -> None:
    made = method(run, composite=False)(request_)
    raw = method(run, composite=False, adapt={"iterations": 0})(request_)
    outside = refine.dilate(request_.mask[0], 3) == 0
    error = np.abs(made.image[0][outside].astype(float) - request_.source[0][outside]).mean()
    assert made.background_error[0] == pytest.approx(error, rel=1e-4)
    assert (made.background_error < raw.background_error).all()
    np.testing.assert_array_equal(made.label, raw.label)


def test_a_row_is_the_same_bytes_in_any_company(run: Run, request_: Request, branch: dict[str, Tensor]) -> None:
    build = method(run, branch)
    whole = build(request_)
    for rows in ([3, 2, 0, 1], [2] * 4, [1, 1, 3, 3]):
        made = build(rows_of(request_, rows))
        np.testing.assert_array_equal(made.image, whole.image[rows])
        np.testing.assert_array_equal(made.label, whole.label[rows])
        np.testing.assert_array_equal(made.background_error, whole.background_error[rows])


def test_seed_and_prompt_decide_the_defect(run: Run, request_: Request) -> None:
    build = method(run)
    first = build.latents(request_)[0]
    assert torch.equal(first, build.latents(request_)[0])
    for other in (replace(request_, seed=request_.seed + 1), replace(request_, prompt=("a scratch",) * ROWS)):
        assert not torch.equal(first, build.latents(other)[0])


@pytest.mark.parametrize(("guidance", "evaluations"), [(9.0, 2 * STEPS), (1.0, STEPS)])
def test_evaluations_are_those_that_the_networks_saw(
    run: Run,
    request_: Request,
    branch: dict[str, Tensor],
    guidance: float,
    evaluations: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = method(run, branch, guidance=guidance)
    seen: dict[str, list[int]] = {"unet": [], "branch": []}

    def spied(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def spy(z: Tensor, *args: Any, **kwargs: Any) -> Any:
            seen[name].append(len(z))
            return forward(z, *args, **kwargs)

        return spy

    monkeypatch.setattr(build.backbone.unet, "forward", spied("unet", build.backbone.unet.forward))
    monkeypatch.setattr(build.branch, "forward", spied("branch", build.branch.forward))
    made = build(request_)
    assert made.evaluations.dtype == np.int32
    assert made.evaluations.tolist() == [evaluations] * ROWS
    assert sum(seen["unet"]) == evaluations * ROWS
    assert seen["branch"] == [ROWS] * STEPS


def test_a_bad_row_fails_alone(run: Run, request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    build = method(run)
    wanted, latents = build(request_), build.latents(request_)[0]
    latents[2, 0, 0, 0] = torch.nan
    mask = request_.mask.copy()
    mask[1] = 0
    monkeypatch.setattr(build, "latents", lambda _: (latents, 20))
    made = build(replace(request_, mask=mask))
    assert made.error[1].startswith("the target mask is empty")
    assert made.error[2].startswith("latents or pixels are not finite")
    assert made.error[0] == made.error[3] == ""
    np.testing.assert_array_equal(made.image[[0, 3]], wanted.image[[0, 3]])


def test_a_defect_that_cannot_be_seen_is_objected_to(
    run: Run, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = method(run)
    monkeypatch.setattr(build, "latents", lambda request: (build.backbone.encode(request.source), 20))
    made = build(request_)
    assert made.objection == ("no_visible_defect",) * ROWS
    assert made.label.sum() == 0
    assert made.error == ("",) * ROWS


def test_an_adapter_of_another_shape_is_refused(run: Run, branch: dict[str, Tensor]) -> None:
    less = dict(list(branch.items())[1:])
    with pytest.raises(WeightsError, match="does not fit a control branch of this base model"):
        method(run, less)
    with pytest.raises(WeightsError, match="holds no adapter"):
        AdaBldm(AdaBldmConfig(adapter="nowhere/at/all"), run)


def discs(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Grained copper discs, a little off the middle, on a dark plain ground."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIZE, :SIZE]
    images = np.full((count, SIZE, SIZE, 3), 40.0)
    for image in images:
        inside = (y - rng.integers(28, 36)) ** 2 + (x - rng.integers(28, 36)) ** 2 < 18**2
        image[inside] = (200, 120, 60)
        image[inside] += rng.normal(0, 12, image[inside].shape)
    return np.clip(images + rng.normal(0, 2, images.shape), 0, 255).astype(np.uint8)


def test_the_foreground_of_an_object_is_found_and_travels_with_the_adapter() -> None:
    images = discs(6)
    found = fit_foreground(images)
    assert found is not None
    part, truth = found(images), images[..., 0] > 100
    assert ((part & truth).sum() / (part | truth).sum()) > 0.8
    np.testing.assert_array_equal(found(images[[4, 1]]), part[[4, 1]])
    again = read_foreground({"other": torch.zeros(1), **found.tensors()})
    assert again is not None
    np.testing.assert_array_equal(again(images), part)
    assert read_foreground({"other": torch.zeros(1)}) is None


def test_a_picture_that_is_all_alike_has_no_object() -> None:
    assert fit_foreground(np.full((2, SIZE, SIZE, 3), 90, np.uint8)) is None


def test_two_means_and_the_discriminant_equal_scikit_learn() -> None:
    from sklearn.cluster import KMeans
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rng = np.random.default_rng(3)
    one, two = rng.normal(0, [1, 2, 1], (300, 3)), rng.normal([8, 0, 2], [1, 2, 1], (300, 3))
    points = np.concatenate([one, two])
    wanted = KMeans(2, n_init=4, random_state=0).fit(points).cluster_centers_
    means = two_means(points)
    np.testing.assert_allclose(means[np.argsort(means[:, 0])], wanted[np.argsort(wanted[:, 0])], atol=0.05)
    line = discriminant(one, two)
    ours = LinearDiscriminantAnalysis(solver="eigen").fit(points, np.repeat([0, 1], 300)).coef_[0]
    assert line @ ours / np.linalg.norm(line) / np.linalg.norm(ours) > 0.9999


def test_features_of_an_image_do_not_depend_on_its_company() -> None:
    images = surface(10, 32)
    whole = adabldm_trimap.features(images)
    assert whole.shape == (10, 80, 80, 24)
    np.testing.assert_array_equal(adabldm_trimap.features(images[[9, 3]]), whole[[9, 3]])


def test_cells_of_a_mask_are_those_it_touches(request_: Request) -> None:
    cells = grow(latent_mask(request_.mask, 8), 1)
    assert cells.shape == (ROWS, 1, 8, 8)
    touched = latent_mask(request_.mask, 8)
    assert (cells | ~touched).all()
