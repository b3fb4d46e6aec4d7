"""Online adaptation of the decoder (card 004 section 5, stage 4; Li et al., arXiv 2402.19330), image by image.

    L(Phi) = mean(M |fg - Phi(z)|^2) + lambda mean((1 - M) |x_OK - Phi(z)|^2),   fg = the decoder's own image of z

``adapt_one_by_one`` is the reference: AdamW on every weight of the decoder, one image after another.
``adapt_and_decode`` minimises the same loss for a whole batch, with weights of its own for each image, and needs an
order of magnitude fewer iterations: Adam walks in whitened coordinates. A convolution of patches p (one image's own,
with a 1 for the bias) is written W = W_0 + s U C with C = L^-1, L L^T = E[p p^T] + ridge and s the spread of its
output, so that a step on U moves the output alike in every direction of its input. It is the change of variables
behind gradient descent on neurons (Benzing 2022, arXiv 2201.12250, FOOF), here with Adam and for convolutions.

The autoencoder itself is never written to: weights go in by ``torch.func.functional_call`` to modules of the task's
own, so that there is nothing to restore and two adaptations at once share no weight that moves.
"""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from farm.config import AdaptConfig
from farm.diffusion.latents import decode

RIDGE = 1e-3  # of the mean variance of a patch's entries
PATCHES = 1 << 15  # about, for the second moments of one layer: with few a direction looks rarer than it is
BETAS = (0.9, 0.999)
QUIET = 1e-3  # a coordinate whose gradient is below this share of the root mean square hardly moves: it is rounding
FALL = 1.2  # a loss this many times the best so far: go back there, and take half the step
PEAK_SQUARED = 4.0  # images span [-1, 1]


@dataclass(frozen=True)
class Adaptation:
    """What an adaptation did; (B,) each. Errors are mean squares over pixels and channels of [-1, 1] images."""

    iterations: Tensor  # decoder iterations until the image stopped
    before: Tensor  # error of the background, 0 where the mask leaves none
    after: Tensor
    drift: Tensor  # change of the foreground


class Decoder(nn.Module):
    """Scaled latents -> image, as a module whose decoder weights can be given from outside.

    Its modules are its own, its tensors those of ``vae``: what is put in or hooked here is not seen there.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        tensors = {id(tensor): tensor for tensor in (*vae.parameters(), *vae.buffers())}
        self.vae = copy.deepcopy(vae, tensors)

    def forward(self, z: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 3, H, W), about [-1, 1]."""
        return decode(self.vae, z)


def adapt_one_by_one(vae: Any, z: Tensor, x_ok: Tensor, mask: Tensor, config: AdaptConfig) -> tuple[Tensor, Adaptation]:
    """The same as ``adapt_and_decode`` by the paper's means: plain AdamW, always ``config.iterations`` of it.

    No weight decay: by 1e-6 an iteration it would only stir up a decoder that has nothing to learn.
    """
    network, z = Decoder(vae), z.detach()
    pairs = [_adapt_plainly(network, z[row : row + 1], x_ok[row], mask[row], config) for row in range(len(z))]
    first, done = (torch.cat(images) for images in zip(*pairs, strict=True))
    return done, _facts(torch.full((len(z),), config.iterations), first, done, x_ok, mask)


def _adapt_plainly(
    network: Decoder, z: Tensor, x_ok: Tensor, mask: Tensor, config: AdaptConfig
) -> tuple[Tensor, Tensor]:
    """The image of ``z`` (1, C, h, w) before and after, (1, 3, H, W) each."""
    weights = {
        name: value.detach().clone().requires_grad_(True)
        for name, value in network.named_parameters()
        if name.startswith("vae.decoder.")
    }
    optimizer = torch.optim.AdamW(weights.values(), lr=config.lr, weight_decay=0)
    with torch.enable_grad():
        made: Tensor = functional_call(network, weights, (z,))
        first = made.detach()
        target, weight = goal(first[0], x_ok, mask, config.background_weight)
        for _ in range(config.iterations):
            grads = torch.autograd.grad((weight * (made[0] - target).square()).mean(), list(weights.values()))
            for value, grad in zip(weights.values(), grads, strict=True):
                value.grad = grad
            optimizer.step()
            made = functional_call(network, weights, (z,))
    return first, made.detach()


def adapt_and_decode(vae: Any, z: Tensor, x_ok: Tensor, mask: Tensor, config: AdaptConfig) -> tuple[Tensor, Adaptation]:
    """Images (B, 3, H, W) of ``z`` (B, C, h, w) by decoders adapted to keep ``x_ok`` outside ``mask``.

    ``x_ok`` (B, 3, H, W) lies in [-1, 1]; ``mask`` (B, H, W) is bool, true where the defect is. An image stops for
    itself, when its background gained less than ``min_gain_db`` in ``every`` iterations, and keeps the best weights
    it saw. ``config.together`` images at a time share a pass (a shorter rest is padded). With 1 a row's bits depend
    on itself alone; with more, which pays on a GPU only, rounding may differ with the place in the pass.
    """
    z, size = z.detach(), config.together
    images, counts = [], []
    with torch.no_grad():
        first = decode(vae, z)
        if config.iterations == 0:
            return first, _facts(torch.zeros(len(z), dtype=torch.int64), first, first, x_ok, mask)
        for start in range(0, len(z), size):
            rows = torch.arange(start, start + size).clamp(max=len(z) - 1)
            image, count = _Walk(vae, z[rows], x_ok[rows], mask[rows], config).run()
            images.append(image[: len(z) - start])
            counts.append(count[: len(z) - start])
    done = torch.cat(images)
    return done, _facts(torch.cat(counts), first, done, x_ok, mask)


def goal(first: Tensor, x_ok: Tensor, mask: Tensor, background_weight: float) -> tuple[Tensor, Tensor]:
    """Target (..., 3, H, W) and weight (..., 1, H, W) of the pixels: both terms of L are one weighted mean square."""
    inside = mask.unsqueeze(-3)
    weight = torch.where(inside, 1.0, background_weight).to(first.dtype)
    return torch.where(inside, first, x_ok.to(first)), weight


class _Walk:
    """Adam on whitened convolutions of b decoders at once; coordinates of all layers side by side, (b, P)."""

    def __init__(self, vae: Any, z: Tensor, x_ok: Tensor, mask: Tensor, config: AdaptConfig) -> None:
        self.config, self.z, self.mask = config, z, mask
        self.network = Decoder(vae)
        self.layers = {
            name: layer
            for name, layer in self.network.named_modules()
            if name.startswith("vae.decoder.") and isinstance(layer, nn.Conv2d) and layer.groups == 1
        }
        self.frames = whiten(self.network, self.layers, z)
        self.sizes = [layer.out_channels * self.frames[name].shape[-1] for name, layer in self.layers.items()]
        self.first = self._each(self._decode)(self._start(), z, self.frames)
        self.target, self.weight = goal(self.first, x_ok, mask, config.background_weight)
        self.background = (~mask).to(z.dtype)[:, None]

    def run(self) -> tuple[Tensor, Tensor]:
        """The best image of each row (b, 3, H, W), and its iterations (b,)."""
        step = self._each(grad_and_value(self._loss, has_aux=True))
        rows, config, u = len(self.z), self.config, self._start()
        mean, square, age = torch.zeros_like(u), torch.zeros_like(u), self.z.new_zeros(rows)
        rate, alive = self.z.new_full((rows,), config.lr), self.z.new_ones(rows, dtype=torch.bool)
        best, best_u, count = self.z.new_full((rows,), torch.inf), u, torch.zeros_like(alive, dtype=torch.int64)
        image, mark = self.first, None
        for iteration in range(config.iterations + 1):
            grad, (loss, made) = step(u, self.z, self.target, self.weight, self.frames)
            better, fell = alive & (loss < best), alive & (loss > FALL * best)
            best, best_u, image = _pick(better, loss, best), _pick(better, u, best_u), _pick(better, made, image)
            if iteration % config.every == 0:
                error = self._background_error(image)
                if mark is not None:
                    alive = alive & (10 * torch.log10(mark / error) >= config.min_gain_db)
                mark = error
            if iteration == config.iterations or not alive.any():
                break
            age = _pick(fell, torch.zeros_like(age), age) + 1
            mean = _pick(fell, torch.zeros_like(mean), mean.lerp(grad, 1 - BETAS[0]))
            square = _pick(fell, torch.zeros_like(square), square.lerp(grad.square(), 1 - BETAS[1]))
            rate = _pick(fell, rate / 2, rate)
            scale = (rate / (1 - BETAS[0] ** age))[:, None]
            level = (square / (1 - BETAS[1] ** age)[:, None]).sqrt()
            quiet = QUIET * level.square().mean(1, keepdim=True).sqrt() + torch.finfo(level.dtype).tiny
            move = scale * mean / (level + quiet)
            u = _pick(alive, _pick(fell, best_u, u) - move, u)
            count += alive
        return image, count

    def _start(self) -> Tensor:
        return self.z.new_zeros(len(self.z), sum(self.sizes))

    def _each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` of one image for all rows; a single row needs no batching rule, nor their other kernels."""
        if len(self.z) > 1:
            return vmap(function)

        def alone(*given: Any) -> Any:
            return tree_map(lambda x: x[None], function(*tree_map(lambda x: x[0], given)))

        return alone

    def _decode(self, u: Tensor, z: Tensor, frames: dict[str, Tensor]) -> Tensor:
        made: Tensor = functional_call(self.network, self._weights(u, frames), (z[None],))[0]
        return made

    def _loss(
        self, u: Tensor, z: Tensor, target: Tensor, weight: Tensor, frames: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        made = self._decode(u, z, frames)
        return (weight * (made - target).square()).mean(), made

    def _weights(self, u: Tensor, frames: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of one decoder at coordinates ``u`` (P,)."""
        weights = {}
        for (name, layer), part in zip(self.layers.items(), u.split(self.sizes), strict=True):
            change = part.view(layer.out_channels, -1) @ frames[name]
            if layer.bias is not None:
                weights[f"{name}.bias"] = layer.bias + change[:, -1]
                change = change[:, :-1]
            weights[f"{name}.weight"] = layer.weight + change.reshape(layer.weight.shape)
        return weights

    def _background_error(self, image: Tensor) -> Tensor:
        error = (self.background * (image - self.target).square()).flatten(1).mean(1)
        return error.clamp(min=torch.finfo(error.dtype).tiny)


def whiten(network: Decoder, layers: Mapping[str, nn.Conv2d], z: Tensor) -> dict[str, Tensor]:
    """s C (b, K, K) for each layer: lower triangles that whiten its patches when ``z`` is decoded."""
    frames: dict[str, Tensor] = {}
    hooks = [
        layer.register_forward_hook(
            lambda layer, given, made, name=name: frames.update({name: _frame(layer, given[0], made)})
        )
        for name, layer in layers.items()
    ]
    try:
        network(z)
    finally:
        for hook in hooks:
            hook.remove()
    return frames


def _frame(layer: nn.Conv2d, given: Tensor, made: Tensor) -> Tensor:
    apart = math.ceil(math.sqrt(made[0, 0].numel() / PATCHES)) | 1  # odd: both phases of an upsampled map are seen
    stride = tuple(apart * step for step in layer.stride)
    patches = F.unfold(given, layer.kernel_size, layer.dilation, layer.padding, stride)  # type: ignore[arg-type]
    if layer.bias is not None:
        patches = torch.cat([patches, torch.ones_like(patches[:, :1])], dim=1)
    moments = torch.nan_to_num(patches @ patches.mT / patches.shape[-1]).double()
    diagonal = moments.diagonal(dim1=-2, dim2=-1)
    ridge = RIDGE * diagonal.mean(-1).clamp(min=1e-12)[:, None, None]
    one = torch.eye(moments.shape[-1], dtype=moments.dtype, device=moments.device)
    root = torch.linalg.cholesky_ex(moments + ridge * one).L  # of a bad row some matrix: its loss is no number
    spread = made.flatten(1).std(1)[:, None, None]
    return torch.linalg.solve_triangular(root, one.expand_as(root), upper=False).to(given.dtype) * spread


def _pick(where: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Row by row: ``one`` where ``where`` (b,) is true."""
    return torch.where(where.view(-1, *[1] * (one.ndim - 1)), one, other)


def _facts(iterations: Tensor, first: Tensor, done: Tensor, x_ok: Tensor, mask: Tensor) -> Adaptation:
    inside = mask[:, None]
    return Adaptation(
        iterations,
        before=_mean_square(first - x_ok, ~inside),
        after=_mean_square(done - x_ok, ~inside),
        drift=_mean_square(done - first, inside),
    )


def _mean_square(difference: Tensor, where: Tensor) -> Tensor:
    """(B,): over the pixels where ``where`` (B, 1, H, W) is true, and channels; 0 where there are none."""
    count = where.flatten(1).sum(1).clamp(min=1) * difference.shape[1]
    return torch.where(where, difference, torch.zeros_like(difference)).square().flatten(1).sum(1) / count
