"""The workers that share a training: what ``farm.fitting.loop`` asks of them, and torch's process group as one."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, distributed


class Workers(Protocol):
    """All workers of a training, as one of them sees it. Every call is made by all of them, in the same order."""

    @property
    def rank(self) -> int:
        """Which one this is, from 0."""

    @property
    def count(self) -> int:
        """How many there are."""

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of ``tensors`` by its mean over the workers."""

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Replace each of ``tensors`` by what rank 0 has."""


class Alone:
    """The one worker of a training that nobody shares."""

    rank, count = 0, 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """A mean of one."""

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Nobody to share with."""


class ProcessGroup:
    """The processes of ``torch.distributed``'s default group (gloo or NCCL), which must have been started."""

    def __init__(self) -> None:
        self.rank, self.count = distributed.get_rank(), distributed.get_world_size()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """One all-reduce over all of them as one float32 buffer."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.detach().flatten().float() for tensor in tensors])
        distributed.all_reduce(flat)
        means = flat.div_(self.count).split([tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view(tensor.shape))

    def share(self, tensors: Sequence[Tensor]) -> None:
        """One broadcast each."""
        if self.count == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().contiguous()
            distributed.broadcast(sent, src=0)
            tensor.detach().copy_(sent)
