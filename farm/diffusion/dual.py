"""Two branches on one frozen U-Net: DualAnoDiff (Jin et al., CVPR 2025, arXiv 2408.13509), card 003 section 4.

A batch holds pairs, interleaved: row 2i is branch 0 (the whole image) of pair i and row 2i + 1 its branch 1 (the
anomaly part). In every attention each branch has low-rank matrices of its own on queries, keys, values and output;
after it the two exchange features place by place (``Exchange``). For objects, keys and values of branch 0's
self-attention may also read the picture's background: a first pass over its latents *writes* what each self-attention
sees into a ``Memory``, the main pass *reads* each of these once.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from farm.config import DualFit
from farm.diffusion import lora
from farm.diffusion.backbone import Backbone
from farm.diffusion.text import Text
from farm.errors import WeightsError
from farm.ids import generator

BRANCHES = 2
COMPENSATION_WIDTH = 320
_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out")


def interleave(whole: Tensor, part: Tensor) -> Tensor:
    """(B, ...) and (B, ...) -> (2B, ...): whole 0, part 0, whole 1, part 1, ..."""
    return torch.stack([whole, part], dim=1).flatten(0, 1)


def separate(pairs: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of ``interleave``: (2B, ...) -> (B, ...) whole and (B, ...) part."""
    return pairs[0::BRANCHES], pairs[1::BRANCHES]


class LowRank(nn.Module):
    """B A x with an A and a B for each branch; B starts at zero, so that a fresh one changes nothing."""

    def __init__(self, width_in: int, width_out: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.zeros(BRANCHES, rank, width_in))
        self.up = nn.Parameter(torch.zeros(BRANCHES, width_out, rank))

    def forward(self, x: Tensor) -> Tensor:
        """(2B, N, in) of pairs -> (2B, N, out)."""
        inner = torch.einsum("bfni,fri->bfnr", x.unflatten(0, (-1, BRANCHES)), self.down)
        return torch.einsum("bfnr,for->bfno", inner, self.up).flatten(0, 1)

    def whole(self, x: Tensor) -> Tensor:
        """(B, N, in) of branch 0 alone -> (B, N, out)."""
        return F.linear(F.linear(x, self.down[0]), self.up[0])


class Exchange(nn.Module):
    """Interaction attention: over the two branches at each place, shared by both.

    u = Lin(LN(h)); (q, k, v) = (W_q u, W_k u, W_v u); h <- h + W_o softmax(q k^T / sqrt(C)) v, tokens of length 2.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.inner, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, h: Tensor) -> Tensor:
        """(2B, N, C) of pairs -> (2B, N, C)."""
        u = self.inner(self.norm(h)).unflatten(0, (-1, BRANCHES)).transpose(1, 2)  # (B, N, 2, C)
        mixed = F.scaled_dot_product_attention(self.query(u), self.key(u), self.value(u))
        given: Tensor = self.out(mixed).transpose(1, 2).flatten(0, 1)
        return h + given


class Compensation(nn.Module):
    """Background in keys and values: (1 - a) h + a MLP(r), MLP of two linear layers without an activation."""

    def __init__(self, width: int, first: float) -> None:
        super().__init__()
        self.narrow, self.wide = nn.Linear(width, COMPENSATION_WIDTH), nn.Linear(COMPENSATION_WIDTH, width)
        self.weight = nn.Parameter(torch.tensor(float(first)))

    def forward(self, h: Tensor, r: Tensor) -> Tensor:
        """(B, N, C) of branch 0 and what the background pass saw there -> (B, N, C)."""
        mixed: Tensor = (1 - self.weight) * h + self.weight * self.wide(self.narrow(r))
        return mixed


class Memory:
    """What each self-attention saw of the background; written once and read once by name."""

    def __init__(self) -> None:
        self.writing = True
        self.seen: dict[str, Tensor] = {}

    def write(self, name: str, h: Tensor) -> None:
        """Keep ``h`` (B, N, C) of the self-attention ``name``."""
        self.seen[name] = h

    def take(self, name: str) -> Tensor:
        """Give back what ``write`` kept under ``name``, once; ``KeyError`` for a second time."""
        return self.seen.pop(name)


class Layer(nn.Module):
    """What is learned beside one attention module of the U-Net."""

    def __init__(self, attn: Any, rank: int, first: float) -> None:
        super().__init__()
        shapes = {name: getattr(attn, name) for name in _PROJECTIONS}
        shapes["to_out"] = attn.to_out[0]
        self.low_rank = nn.ModuleDict(
            {name: LowRank(linear.in_features, linear.out_features, rank) for name, linear in shapes.items()}
        )
        self.exchange = Exchange(attn.to_out[0].out_features)
        self.compensation = None if attn.is_cross_attention else Compensation(attn.to_q.in_features, first)


class DualAttention:
    """Attention processor of diffusers; ``memory`` arrives through ``cross_attention_kwargs``."""

    def __init__(self, name: str, layer: Layer) -> None:
        self.name, self.layer = name, layer

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        _temb: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """(2B, N, C) of pairs -> (2B, N, C); of branch 0 alone, (B, N, C), while ``memory`` is being written."""
        alone = memory is not None and memory.writing
        h = hidden_states
        context = h if encoder_hidden_states is None else encoder_hidden_states
        if memory is not None and encoder_hidden_states is None:
            context = self._remembered(h, memory)
        q = self._project(attn.to_q, "to_q", h, alone)
        k, v = self._project(attn.to_k, "to_k", context, alone), self._project(attn.to_v, "to_v", context, alone)
        q, k, v = (x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attention_mask).transpose(1, 2).flatten(2)
        out = self._project(attn.to_out[0], "to_out", mixed, alone)
        if not alone:
            out = self.layer.exchange(out)
        result: Tensor = attn.to_out[1](out) / attn.rescale_output_factor
        return result

    def _remembered(self, h: Tensor, memory: Memory) -> Tensor:
        if memory.writing:
            memory.write(self.name, h)
            return h
        whole, part = separate(h)
        assert self.layer.compensation is not None
        return interleave(self.layer.compensation(whole, memory.take(self.name)), part)

    def _project(self, linear: nn.Linear, name: str, x: Tensor, alone: bool) -> Tensor:
        low_rank = self.layer.low_rank[name]
        given: Tensor = linear(x) + (low_rank.whole(x) if alone else low_rank(x))  # type: ignore[operator]
        return given


class DualNetwork:
    """A private ``backbone`` whose attention has two branches; ``layers`` (and the texts' adapters) are what learns."""

    def __init__(self, backbone: Backbone, settings: DualFit, seed: int) -> None:
        """With ``exchange_init`` zero a fresh network gives each branch what the base model gives."""
        self.backbone, self.text_rank = backbone, settings.text_rank
        attention = {
            name.removesuffix(".processor"): backbone.unet.get_submodule(name.removesuffix(".processor"))
            for name in backbone.unet.attn_processors
        }
        self.layers = nn.ModuleDict(
            {_key(name): Layer(attn, settings.rank, settings.background_init) for name, attn in attention.items()}
        ).to(backbone.device)
        _draw(self.layers, seed, zero_out=settings.exchange_init == "zero")
        backbone.unet.set_attn_processor(
            {f"{name}.processor": DualAttention(name, self.layers[_key(name)]) for name in attention}  # type: ignore[arg-type]
        )
        if settings.text_rank:
            for index, encoder in enumerate(backbone.prompts.encoders):
                lora.add_lora(encoder, settings.text_rank, seed + index, lora.TEXT_TARGETS)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move in place, branches and base model."""
        self.backbone.to(device, dtype)
        self.layers.to(device=device, dtype=dtype)

    def predict(self, z: Tensor, time: int | Tensor, text: Text, memory: Memory | None = None) -> Tensor:
        """Noise of pairs (2B, C, h, w), for one time or (2B,) of them; ``memory`` is from ``remember``."""
        predicted = self.backbone.predict(z, time, text, memory=memory)
        if memory is not None and memory.seen:
            raise RuntimeError(f"{len(memory.seen)} backgrounds were not read, first {next(iter(memory.seen))}")
        return predicted

    def remember(self, z: Tensor, time: int | Tensor, text: Text) -> Memory:
        """The backgrounds (B, C, h, w), noised to ``time``, as each self-attention of branch 0 sees them."""
        memory = Memory()
        self.backbone.predict(z, time, text, memory=memory)
        memory.writing = False
        return memory

    def text_parameters(self) -> list[nn.Parameter]:
        """The matrices of the text encoders' adapters."""
        return [one for encoder in self.backbone.prompts.encoders for one in lora.lora_parameters(encoder)]

    def state(self) -> dict[str, Tensor]:
        """A copy of all that is learned, on the CPU: ``branch.<layer>.<tensor>`` and ``text.<encoder>.<tensor>``."""
        tensors = {f"branch.{name}": value.detach().cpu().clone() for name, value in self.layers.state_dict().items()}
        for index, encoder in enumerate(self.backbone.prompts.encoders):
            tensors |= {f"text.{index}.{name}": value for name, value in lora.lora_state(encoder).items()}
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Set all that is learned to what ``state`` gave; ``WeightsError`` where it does not fit."""
        branch = {name.removeprefix("branch."): value for name, value in tensors.items() if name.startswith("branch.")}
        shapes = {name: tuple(value.shape) for name, value in self.layers.state_dict().items()}
        found = {name: tuple(value.shape) for name, value in branch.items()}
        wrong = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
        if wrong:
            raise WeightsError(
                f"adapter: {len(wrong)} tensor(s) do not fit, first {wrong[0]}: found {found.get(wrong[0], 'none')}, "
                f"this U-Net reads {shapes.get(wrong[0], 'none')}; fit the adapter on this base model"
            )
        self.layers.load_state_dict(branch)
        for index, encoder in enumerate(self.backbone.prompts.encoders):
            mark = f"text.{index}."
            text = {name.removeprefix(mark): value for name, value in tensors.items() if name.startswith(mark)}
            if text or self.text_rank:
                lora.load_lora(encoder, text, self.text_rank, lora.TEXT_TARGETS)
        self.backbone.prompts.forget()


def ranks(tensors: Mapping[str, Tensor]) -> DualFit:
    """Settings of the network that the adapter ``tensors`` are for, as their shapes tell."""
    down = next((value for name, value in tensors.items() if name.endswith("to_q.down")), None)
    if down is None:
        raise WeightsError("adapter: holds no branch of 'dual'; fit it with 'farm fit'")
    text = next((value for name, value in tensors.items() if name.startswith("text.") and ".lora_A." in name), None)
    return DualFit(rank=down.shape[1], text_rank=0 if text is None else len(text))


def _key(name: str) -> str:
    """A module's name as a key of ``ModuleDict``, which allows no dots."""
    return name.replace(".", "-")


def _draw(layers: nn.ModuleDict, seed: int, zero_out: bool) -> None:
    """First values by name and seed: matrices uniform in +-1/sqrt(in), biases and every B zero, norms one."""
    for name, parameter in _drawn(layers):
        bound = parameter.shape[-1] ** -0.5
        values = generator(seed, f"dual/{name}").uniform(-bound, bound, tuple(parameter.shape)).astype("float32")
        parameter.data.copy_(torch.from_numpy(values))
    for name, parameter in layers.named_parameters():
        if name.endswith(("bias", ".up")) or (zero_out and name.endswith("exchange.out.weight")):
            parameter.data.zero_()


def _drawn(layers: nn.ModuleDict) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in layers.named_parameters():
        if parameter.ndim > 1 and not name.endswith(".up"):
            yield name, parameter
