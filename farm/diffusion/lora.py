"""Low-rank adapters on the attention of a network: Hu et al. 2021 (arXiv 2106.09685), W' = W + B A, through peft.

A (rank, in) is drawn uniformly in +-1/sqrt(in), B (out, rank) is zero: a fresh adapter changes nothing. The paper's
scale alpha / rank is 1. Adapters stay float32 whatever the network computes in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn

from farm.errors import WeightsError
from farm.ids import generator

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")  # of a U-Net's self- and cross-attention
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")  # of a text encoder's attention
_ADAPTER = "default"


def add_lora(unet: Any, rank: int, seed: int, targets: Sequence[str] = TARGETS) -> None:
    """Freeze ``unet`` and give its attention a trainable adapter, which changes nothing yet."""
    with torch.random.fork_rng(devices=[]):  # peft draws weights that are overwritten below
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(targets)), _ADAPTER)
    for name, parameter in _named(unet).items():
        parameter.data = _first_value(name, parameter, seed)


def lora_parameters(unet: Any) -> list[nn.Parameter]:
    """A and B of every adapted layer; empty without an adapter."""
    return list(_named(unet).values())


def lora_state(unet: Any) -> dict[str, Tensor]:
    """A copy of the adapter on the CPU by name (``<layer>.lora_A.weight``)."""
    return {name: parameter.detach().cpu().clone() for name, parameter in _named(unet).items()}


def load_lora(unet: Any, state: Mapping[str, Tensor], rank: int, targets: Sequence[str] = TARGETS) -> None:
    """Put ``state`` into the adapter of ``unet``; one that is added for it is frozen.

    Raises ``WeightsError`` where the tensors are not those of an adapter of ``rank`` for this U-Net.
    """
    if not _named(unet):
        add_lora(unet, rank, 0, targets)
        for parameter in _named(unet).values():
            parameter.requires_grad_(False)
    named = _named(unet)
    shapes = {name: tuple(parameter.shape) for name, parameter in named.items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    wrong = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
    if wrong:
        raise WeightsError(
            f"adapter: {len(wrong)} tensor(s) do not fit, first {wrong[0]}: found {found.get(wrong[0], 'none')}, this "
            f"network reads {shapes.get(wrong[0], 'none')} at rank {rank}; fit the adapter on this base model"
        )
    for name, parameter in named.items():
        parameter.data.copy_(state[name])


def merge_lora(unet: Any) -> None:
    """Add B A to the weights and take the adapter away: the same network to rounding, at the base model's speed."""
    if _named(unet):
        unet.fuse_lora()
        unet.unload_lora()


def _named(unet: Any) -> dict[str, nn.Parameter]:
    mark = f".{_ADAPTER}."
    return {name.replace(mark, "."): value for name, value in unet.named_parameters() if ".lora_" in name}


def _first_value(name: str, parameter: Tensor, seed: int) -> Tensor:
    if ".lora_B." in name:
        return torch.zeros_like(parameter, dtype=torch.float32)
    bound = parameter.shape[1] ** -0.5
    drawn = generator(seed, f"lora/{name}").uniform(-bound, bound, tuple(parameter.shape)).astype("float32")
    return torch.from_numpy(drawn).to(parameter.device)
