"""Detectors and unfinished trainings on disk: tensors as safetensors, everything else as JSON, never a pickle.

A finished detector is ``model.safetensors`` + ``card.json``; a checkpoint has ``optimiser.safetensors`` as well.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from farm.errors import WeightsError

WEIGHTS = "model.safetensors"
OPTIMISER = "optimiser.safetensors"
CARD = "card.json"


def to_bytes(model: nn.Module) -> bytes:
    """The model's tensors as safetensors; equal weights give equal bytes."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()})


def from_bytes(model: nn.Module, data: bytes, where: str) -> None:
    """Set the model's tensors; ``WeightsError`` naming ``where`` if they are damaged or of another model."""
    tensors = _tensors(data, where)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != found:
        odd = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise WeightsError(
            f"{where}: {len(odd)} tensor(s) do not fit the detector, first '{odd[0]}': found {found.get(odd[0])}, "
            f"wanted {wanted.get(odd[0])}; its card.json belongs to other weights, train again"
        )
    model.load_state_dict(tensors)


def optimiser_to_bytes(optimiser: torch.optim.Optimizer) -> bytes:
    """AdamW's state as safetensors, named ``<place of the parameter>.<key>``."""
    state: dict[int, dict[str, Tensor]] = optimiser.state_dict()["state"]
    return save(
        {f"{i}.{key}": value.cpu().contiguous() for i, moments in state.items() for key, value in moments.items()}
    )


def optimiser_from_bytes(optimiser: torch.optim.Optimizer, data: bytes, where: str) -> None:
    """Set AdamW's state; its parameter groups stay as they were built."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _tensors(data, where).items():
        place, key = name.split(".")
        state.setdefault(int(place), {})[key] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def write_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, card: dict[str, Any]) -> None:
    """Write an unfinished training into ``folder``; ``card`` is what ``read_checkpoint`` gives back."""
    (folder / WEIGHTS).write_bytes(to_bytes(model))
    (folder / OPTIMISER).write_bytes(optimiser_to_bytes(optimiser))
    (folder / CARD).write_text(json.dumps(card, sort_keys=True))


def read_progress(folder: Path) -> dict[str, Any]:
    """The card that was written with a checkpoint, without its tensors."""
    card: dict[str, Any] = json.loads((folder / CARD).read_text())
    return card


def read_checkpoint(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Set model and optimiser to what was written; gives the card."""
    from_bytes(model, (folder / WEIGHTS).read_bytes(), str(folder / WEIGHTS))
    optimiser_from_bytes(optimiser, (folder / OPTIMISER).read_bytes(), str(folder / OPTIMISER))
    return read_progress(folder)


def _tensors(data: bytes, where: str) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load(data)
    except SafetensorError as error:
        raise WeightsError(f"{where}: is not a whole safetensors file ({error}); train the detector again") from error
    return tensors
