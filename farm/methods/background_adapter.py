"""What an adapter of ``background_aware`` holds: low-rank matrices or a whole U-Net, and a learned word each defect.

Tensors are named ``lora.<layer>``, ``unet.<tensor>`` and ``token.<word>``.
"""

from collections.abc import Mapping

from torch import Tensor

from farm.config import Run
from farm.diffusion.backbone import Backbone
from farm.errors import ConfigError, WeightsError

_PARTS = ("lora", "unet", "token")


def token_of(defect: str) -> str:
    """The learned word for the defect of this name."""
    return f"<{defect}>"


def told_prompts(run: Run, backbone: Backbone) -> dict[str, str]:
    """Text of each defect that ``backbone`` has a learned word for -> the same text with that word at the end.

    Raises ``ConfigError`` where a fitted defect has the text of another, which would not say what is meant, or a text
    so long that the word is cut off.
    """
    known, told = backbone.token_vectors().keys(), dict[str, str]()
    for defect in run.prompts.defects:
        if token_of(defect.name) not in known:
            continue
        if sum(other.prompt == defect.prompt for other in run.prompts.defects) > 1:
            raise ConfigError(
                f"prompts.defects: '{defect.name}' has the text of another defect, {defect.prompt!r}; each fitted "
                "defect needs a text of its own"
            )
        told[defect.prompt] = f"{defect.prompt} {token_of(defect.name)}"
        longest = max(len(tokenizer(told[defect.prompt]).input_ids) for tokenizer in backbone.prompts.tokenizers)
        if longest > backbone.prompts.length:
            raise ConfigError(
                f"prompts.defects: the text of '{defect.name}' and its learned word are {longest} tokens long; this "
                f"model reads {backbone.prompts.length}. Shorten the text"
            )
    return told


def take_adapter(backbone: Backbone, whole_unet: bool) -> dict[str, Tensor]:
    """The tensors of what ``backbone`` has learned, copied to the CPU."""
    weights = backbone.unet.state_dict() if whole_unet else backbone.lora_state()
    tensors = {f"{'unet' if whole_unet else 'lora'}.{name}": tensor for name, tensor in weights.items()}
    tensors |= {f"token.{token}": vector for token, vector in backbone.token_vectors().items()}
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def adapted(backbone: Backbone, tensors: Mapping[str, Tensor]) -> Backbone:
    """A private copy of ``backbone`` with an adapter in it; ``WeightsError`` where the tensors do not fit."""
    private = backbone.private()
    put_adapter(private, tensors)
    return private


def put_adapter(backbone: Backbone, tensors: Mapping[str, Tensor]) -> None:
    """The same in place, for a backbone that is private already."""
    parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in _PARTS}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition(".")
        if kind not in parts:
            raise WeightsError(f"adapter: tensor {name} is none of {', '.join(_PARTS)}; fit the adapter again")
        parts[kind][rest] = tensor
    if parts["lora"]:
        rank = next((len(tensor) for name, tensor in parts["lora"].items() if ".lora_A." in name), 1)
        backbone.load_lora(parts["lora"], rank)
    if parts["unet"]:
        _put_unet(backbone, parts["unet"])
    for token, vector in parts["token"].items():
        try:
            backbone.set_token(token, vector)
        except ValueError as error:
            raise WeightsError(f"adapter: {error}; fit it on this base model") from error


def _put_unet(backbone: Backbone, tensors: dict[str, Tensor]) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in backbone.unet.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = sorted(name for name in shapes.keys() | found.keys() if shapes.get(name) != found.get(name))
    if wrong:
        raise WeightsError(
            f"adapter: {len(wrong)} tensor(s) do not fit the U-Net, first {wrong[0]}: found "
            f"{found.get(wrong[0], 'none')}, wanted {shapes.get(wrong[0], 'none')}; fit it on this base model"
        )
    backbone.unet.load_state_dict(tensors)
