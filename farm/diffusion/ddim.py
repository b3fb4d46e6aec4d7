"""Deterministic DDIM: one step, both ways; inversion with fixed-point refinement; sampling.

Song et al. 2020 (arXiv 2010.02502), Eq. (12) with sigma = 0. Refinement as in card 001 section 5: the inversion step
asks the network at the time that the reverse step will use, then repeats with the candidate it led to, which solves
the implicit equation that the reverse step inverts exactly. Levels ascend in noise; a trajectory's index 0 is z_0.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from farm.diffusion.schedule import Level

MEMORY = 5  # earlier rounds that a candidate is mixed from
RIDGE = 1e-8  # of the mean square of the changes

Predict = Callable[[Tensor, Level], Tensor]  # latent (B, C, h, w), level -> predicted noise
View = Callable[[Tensor, Level], Tensor]  # latent at a level -> what the network may see of it


def move(x: Tensor, eps: Tensor, abar_from: float | Tensor, abar_to: float | Tensor) -> Tensor:
    """Eq. (12) with sigma = 0: carry ``x`` (B, C, h, w) from one noise level to another; same shape and dtype.

    With ``abar_to > abar_from`` this is a denoising step, else an inversion step, exact only where ``eps`` is the
    same at both ends. Levels are numbers, or tensors (B,) where each row has its own; coefficients are float64.
    """
    start, end = _column(abar_from, x), _column(abar_to, x)
    keep = (end / start).sqrt()
    noise = (1 - end).sqrt() - keep * (1 - start).sqrt()
    return keep.to(x.dtype) * x + noise.to(x.dtype) * eps


def add_noise(z0: Tensor, noise: Tensor, abar: float | Tensor) -> Tensor:
    """Eq. (4): sqrt(abar) z_0 + sqrt(1 - abar) noise."""
    level = _column(abar, z0)
    return level.sqrt().to(z0.dtype) * z0 + (1 - level).sqrt().to(z0.dtype) * noise


def clean(x: Tensor, eps: Tensor, abar: float | Tensor) -> Tensor:
    """Eq. (9): the z_0 that ``x`` at ``abar`` holds, where ``eps`` is its noise."""
    return move(x, eps, abar, 1.0)


def whole(z: Tensor, level: Level) -> Tensor:
    """The view that hides nothing."""
    del level
    return z


def invert(predict: Predict, z0: Tensor, levels: Sequence[Level], fixed_point: int, view: View = whole) -> Tensor:
    """(B, S+1, C, h, w): ``z0`` and the latent at each further level. 1 + ``fixed_point`` evaluations a step."""
    trajectory = [z0]
    for here, there in pairwise(levels):
        z = trajectory[-1]
        candidate = move(z, predict(view(z, here), there), here.abar, there.abar)
        for _ in range(fixed_point):
            candidate = move(z, predict(view(candidate, there), there), here.abar, there.abar)
        trajectory.append(candidate)
    return torch.stack(trajectory, dim=1)


def invert_within(
    predict: Predict, z0: Tensor, levels: Sequence[Level], fixed_point: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """``invert`` with as many rounds at most, spent where they are needed; and evaluations (B,) of each row.

    A row refines a step until two candidates differ by less than ``tolerance`` of their norm, out of a purse of
    S x ``fixed_point`` rounds. One is kept for each step to come, and a step takes a quarter of the purse at most. The
    steps are far from alike: near z_0 the network is steep and a plain round may take off a third of the error, later
    each takes off nine tenths. Rounds are mixed as Anderson does (``_mixed``), and of all candidates of a step the one
    that moved least is taken.
    """
    steps = len(levels) - 1
    purse = torch.full((len(z0),), steps * fixed_point, dtype=torch.int64, device=z0.device)
    most, trajectory = max(fixed_point, steps * fixed_point // 4), [z0]
    for index, (here, there) in enumerate(pairwise(levels)):
        z = trajectory[-1]
        given = taken = move(z, predict(z, there), here.abar, there.abar)
        kept, least = min(fixed_point, 1) * (steps - 1 - index), torch.full_like(z[:, 0, 0, 0], torch.inf)
        tried: list[tuple[Tensor, Tensor]] = []
        open_ = purse > kept
        while open_.any() and len(tried) < most:
            found = move(z, predict(given, there), here.abar, there.abar)
            tried = [*tried, (given, found)]
            purse = purse - open_.long()
            apart = _norm(found - given) / _norm(found)
            nearer = open_ & (apart < least)
            least, taken = torch.where(nearer, apart, least), torch.where(_column_of(nearer), found, taken)
            open_ = open_ & (apart > tolerance) & (purse > kept)
            given = _mixed(tried[-1 - MEMORY :])
        trajectory.append(taken)
    return torch.stack(trajectory, dim=1), steps * (1 + fixed_point) - purse


def _mixed(tried: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The next candidate from what was given to the map and what it made of it, the last one last.

    Anderson acceleration (Walker and Ni 2011, SIAM J. Numer. Anal. 49(4), Algorithm AA), row by row, in float64.
    """
    made = tried[-1][1]
    if len(tried) == 1:
        return made
    residuals = torch.stack([(found - given).flatten(1).double() for given, found in tried], dim=2)
    values = torch.stack([found.flatten(1).double() for _, found in tried], dim=2)
    changes = residuals.diff(dim=2)
    moments = changes.mT @ changes
    size = moments.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    ridge = (RIDGE * size + torch.finfo(size.dtype).tiny) * torch.eye(moments.shape[1]).to(moments)
    shares = torch.linalg.solve_ex(moments + ridge, changes.mT @ residuals[:, :, -1:]).result
    mixed: Tensor = (made.flatten(1) - (values.diff(dim=2) @ shares)[..., 0]).reshape(made.shape).to(made)
    return mixed


def sample(
    predict: Predict, z: Tensor, levels: Sequence[Level], hold: Callable[[Tensor, int], Tensor] | None = None
) -> Tensor:
    """Denoise ``z`` from the last of ``levels`` down to the first, one evaluation a step.

    ``hold(z, i)``, where given, replaces the latent as it arrives at ``levels[i]``, the last and the first included.
    """
    for index in range(len(levels) - 1, 0, -1):
        z = z if hold is None else hold(z, index)
        z = move(z, predict(z, levels[index]), levels[index].abar, levels[index - 1].abar)
    return z if hold is None else hold(z, 0)


def _column_of(rows: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1)"""
    return rows.view(-1, 1, 1, 1)


def _norm(x: Tensor) -> Tensor:
    """(B,)"""
    return x.flatten(1).norm(dim=1)


def _column(value: float | Tensor, x: Tensor) -> Tensor:
    """float64 (1 or B, 1, 1, 1) on the device of ``x``."""
    return torch.as_tensor(value, dtype=torch.float64, device=x.device).reshape(-1, *[1] * (x.ndim - 1))
