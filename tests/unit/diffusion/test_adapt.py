"""Card 004 7.6 and 7.7: decoders adapted to one image each, never the autoencoder itself."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from farm.config import AdaptConfig
from farm.diffusion.adapt import Decoder, adapt_and_decode, adapt_one_by_one, goal, whiten
from farm.diffusion.latents import decode
from tests.tiny import tiny_backbone_folder

ROWS, SIDE = 4, 16
BOTH = [adapt_one_by_one, adapt_and_decode]
CLASSES = {"kl": AutoencoderKL, "tiny": AutoencoderTiny}


class Linear(nn.Module):
    """A decoder that is one convolution of the enlarged latent."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.decoder = nn.Sequential(nn.Upsample(scale_factor=4), nn.Conv2d(4, 3, 3, padding=1))
        self.config = SimpleNamespace(scaling_factor=1.0)

    def decode(self, z: Tensor) -> Any:
        return SimpleNamespace(sample=self.decoder(z))


def autoencoder(kind: str, folder: Path) -> Any:
    if kind == "linear":
        return Linear().eval().requires_grad_(False)
    made = CLASSES[kind].from_pretrained(folder / kind / "vae", local_files_only=True)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["linear", "kl"])
def vae(request: pytest.FixtureRequest, folders: Path) -> Any:
    return autoencoder(request.param, folders)


@pytest.fixture(scope="module", params=["linear", "kl", "tiny"])
def every_vae(request: pytest.FixtureRequest, folders: Path) -> Any:
    return autoencoder(request.param, folders)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vaes")
    for kind in ("kl", "tiny"):
        tiny_backbone_folder(root / kind, vae=kind)
    return root


def case(vae: Any, rows: int = ROWS) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, photographs near what the decoder makes of them, and masks."""
    generator = torch.Generator().manual_seed(1)
    cells = SIDE // (4 if isinstance(vae, Linear) else 8)
    z = torch.randn(rows, 4, cells, cells, generator=generator)
    with torch.no_grad():
        made = decode(vae, z)
    x_ok = made + 0.1 * torch.randn(made.shape, generator=generator) + 0.03
    mask = torch.zeros(rows, SIDE, SIDE, dtype=torch.bool)
    for row in range(rows):
        mask[row, 2 + 2 * row : 6 + 2 * row, 4:9] = True
    return z, x_ok, mask


def config(**settings: Any) -> AdaptConfig:
    return AdaptConfig(**{"iterations": 4, "min_gain_db": 0.0, **settings})


# card 004 7.6
def test_two_hundred_iterations_lower_the_background_error_and_keep_the_foreground() -> None:
    vae = Linear().eval().requires_grad_(False)
    z, x_ok, mask = case(vae, rows=1)
    made, facts = adapt_one_by_one(vae, z, x_ok, mask, config(iterations=200, lr=1e-4))
    assert facts.iterations.tolist() == [200]
    assert 0 < facts.after.item() < facts.before.item()
    term = torch.where(mask[:, None], made - decode(vae, z), 0.0).square().mean()  # the foreground's term of L
    assert 0 < term.item() < 1e-4


# card 004 7.6
@pytest.mark.parametrize("adapt", BOTH)
def test_the_background_gains_and_the_foreground_term_begins_at_nothing(every_vae: Any, adapt: Any) -> None:
    z, x_ok, mask = case(every_vae)
    same, facts = adapt(every_vae, z, x_ok, mask, config(iterations=0))
    torch.testing.assert_close(same, decode(every_vae, z), rtol=0, atol=1e-5)
    assert facts.drift.tolist() == pytest.approx([0] * ROWS, abs=1e-10)
    assert facts.after.tolist() == pytest.approx(facts.before.tolist(), rel=1e-4)
    gained = adapt(every_vae, z, x_ok, mask, config(lr=2e-5 if adapt is adapt_one_by_one else 2e-4))[1]
    assert (gained.after < facts.before).all()
    assert (gained.drift < gained.before).all()


def test_whitened_steps_come_near_the_best_there_is_and_plain_ones_do_not() -> None:
    vae = Linear().eval().requires_grad_(False)
    z, x_ok, mask = case(vae)
    patches = nn.functional.unfold(vae.decoder[0](z), 3, padding=1)
    patches = torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1).mT
    target, weight = goal(decode(vae, z), x_ok, mask, 100.0)
    root, wanted = weight.flatten(1)[..., None].sqrt(), target.flatten(2).mT
    least = (
        (root * (patches @ torch.linalg.lstsq(root * patches, root * wanted).solution - wanted)).square().mean((1, 2))
    )

    def excess(adapt: Any, **settings: Any) -> Tensor:
        made = adapt(vae, z, x_ok, mask, config(**settings))[0]
        reached = (weight * (made - target).square()).mean((1, 2, 3))
        start = (weight * (decode(vae, z) - target).square()).mean((1, 2, 3))
        return (reached - least) / (start - least)

    assert (excess(adapt_and_decode, iterations=40, lr=3e-3) < 0.05).all()
    assert (excess(adapt_one_by_one, iterations=40, lr=1e-4) > 0.4).all()


# card 004 7.6
@pytest.mark.parametrize("adapt", BOTH)
def test_without_the_background_term_nothing_changes(vae: Any, adapt: Any) -> None:
    z, x_ok, mask = case(vae)
    made, facts = adapt(vae, z, x_ok, mask, config(background_weight=0.0, iterations=4))
    torch.testing.assert_close(made, decode(vae, z), rtol=0, atol=1e-5)
    torch.testing.assert_close(facts.after, facts.before)


# card 004 7.6
@pytest.mark.parametrize("adapt", BOTH)
def test_the_autoencoder_keeps_its_bits_and_no_gradient_reaches_the_latent(vae: Any, adapt: Any) -> None:
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    z, x_ok, mask = case(vae)
    z.requires_grad_(True)
    made, _ = adapt(vae, z, x_ok, mask, config(iterations=3, lr=1e-2))
    assert z.grad is None
    assert not made.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in vae.parameters())


# card 004 7.6
@pytest.mark.parametrize("adapt", BOTH)
def test_the_autoencoder_keeps_its_bits_when_an_adaptation_breaks(
    adapt: Any, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = autoencoder("kl", folders)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    calls = []

    def torn(*_: Any) -> Tensor:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("torn")
        return decode(*_)

    monkeypatch.setattr("farm.diffusion.adapt.decode", torn)
    with pytest.raises(RuntimeError, match="torn"):
        adapt(vae, *case(vae), config(iterations=6))
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    assert not any(module._forward_hooks for module in vae.modules())


# card 004 7.7
@pytest.mark.parametrize("adapt", BOTH)
def test_two_adaptations_at_once_share_no_weights(vae: Any, adapt: Any) -> None:
    z, x_ok, mask = case(vae)
    alone = [adapt(vae, z[rows], x_ok[rows], mask[rows], config())[0] for rows in (slice(0, 2), slice(2, 4))]
    with ThreadPoolExecutor(2) as pool:
        halves = [
            pool.submit(adapt, vae, z[rows], x_ok[rows], mask[rows], config()) for rows in (slice(0, 2), slice(2, 4))
        ]
        together = [half.result()[0] for half in halves]
    assert all(torch.equal(one, two) for one, two in zip(alone, together, strict=True))


def test_an_image_does_not_depend_on_its_company(every_vae: Any) -> None:
    z, x_ok, mask = case(every_vae)
    whole, _ = adapt_and_decode(every_vae, z, x_ok, mask, config())
    for rows in ([3, 1, 0, 2], [2, 2], [1]):
        made, others = adapt_and_decode(every_vae, z[rows], x_ok[rows], mask[rows], config())
        assert torch.equal(made, whole[rows])
        assert others.iterations.tolist() == [4] * len(rows)


@pytest.mark.parametrize("size", [3, 4])
def test_images_that_share_a_pass_come_out_as_alone(vae: Any, size: int) -> None:
    z, x_ok, mask = case(vae)
    alone, _ = adapt_and_decode(vae, z, x_ok, mask, config())
    with sdpa_kernel(SDPBackend.MATH):
        made, facts = adapt_and_decode(vae, z, x_ok, mask, config(together=size))
    torch.testing.assert_close(made, alone, rtol=0, atol=1e-3)
    assert facts.iterations.tolist() == [4] * ROWS


@pytest.mark.parametrize("together", [1, 4])
def test_an_image_that_gains_nothing_stops_and_the_others_go_on(vae: Any, together: int) -> None:
    z, x_ok, mask = case(vae)
    x_ok[2] = decode(vae, z)[2]
    settings = config(iterations=6, every=2, min_gain_db=1e-3, lr=1e-4, together=together)
    with sdpa_kernel(SDPBackend.MATH):
        made, facts = adapt_and_decode(vae, z, x_ok, mask, settings)
    assert facts.iterations.tolist() == [6, 6, 2, 6]
    torch.testing.assert_close(made[2], decode(vae, z)[2], rtol=0, atol=1e-5)
    rest = [0, 1, 3, 3]
    with sdpa_kernel(SDPBackend.MATH):
        without, _ = adapt_and_decode(vae, z[rest], x_ok[rest], mask[rest], settings)
    torch.testing.assert_close(made[rest], without, rtol=0, atol=0 if together == 1 else 1e-3)


def test_steps_that_are_far_too_long_never_leave_an_image_worse(vae: Any) -> None:
    facts = adapt_and_decode(vae, *case(vae), config(lr=5.0))[1]
    assert (facts.after <= facts.before * (1 + 1e-5)).all()
    halved = adapt_and_decode(vae, *case(vae), config(lr=0.02, iterations=12))[1]
    assert (halved.after < halved.before).all()


def test_a_latent_that_is_no_number_harms_itself_alone(vae: Any) -> None:
    z, x_ok, mask = case(vae)
    wanted, _ = adapt_and_decode(vae, z, x_ok, mask, config(iterations=3))
    z[1, 0, 0, 0] = torch.nan
    made, _ = adapt_and_decode(vae, z, x_ok, mask, config(iterations=3))
    assert torch.equal(made[[0, 2, 3]], wanted[[0, 2, 3]])


def test_whitened_patches_have_the_spread_of_the_output_in_every_direction() -> None:
    torch.manual_seed(2)
    vae = Linear().eval().requires_grad_(False)
    z = torch.randn(2, 4, 8, 8)
    network = Decoder(vae)
    frames, made = whiten(network, {"one": network.vae.decoder[1]}, z), network(z)
    patches = nn.functional.unfold(vae.decoder[0](z), 3, padding=1)
    patches = torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1)
    white = frames["one"] @ patches / made.flatten(1).std(1)[:, None, None]
    moments = white @ white.mT / patches.shape[-1]
    assert moments.shape == (2, 37, 37)
    directions = torch.linalg.eigvalsh(moments)
    assert (directions <= 1 + 1e-4).all()  # the ridge holds back those that hardly occur
    assert (directions.median(dim=1).values > 0.9).all()


def test_errors_are_means_over_their_own_pixels(folders: Path) -> None:
    vae = autoencoder("kl", folders)
    z, x_ok, mask = case(vae)
    mask[3] = True
    made, facts = adapt_and_decode(vae, z, x_ok, mask, config(iterations=2))
    first = decode(vae, z)
    for row in range(3):
        outside = ~mask[row]
        wanted = (made - x_ok)[row][:, outside].square().mean()
        assert facts.after[row].item() == pytest.approx(wanted.item(), rel=1e-4)
        assert facts.drift[row].item() == pytest.approx(
            (made - first)[row][:, mask[row]].square().mean().item(), rel=1e-2
        )
    assert facts.after[3].item() == 0
