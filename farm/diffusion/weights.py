"""Which files a model is: a local diffusers folder, a hub id or the embedded model → a checked folder, and its name.

No torch here: a driver that only needs the fingerprint loads no network. Only safetensors are ever read; a pickle
can run code when it is opened, so a folder that has nothing else is refused.
"""

from pathlib import Path
from typing import Any

from farm.config import ModelConfig
from farm.errors import WeightsError
from farm.model_files import contents, fetch, is_hub_id, read_json, safe_weights

PARTS: dict[str, tuple[str, ...]] = {  # component -> classes that this farm can run
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
    "text_encoder": ("CLIPTextModel",),
    "tokenizer": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
SECOND: dict[str, tuple[str, ...]] = {  # what Stable Diffusion XL has beside them
    "text_encoder_2": ("CLIPTextModelWithProjection",),
    "tokenizer_2": ("CLIPTokenizer", "CLIPTokenizerFast"),
}
_SCHEDULER = "scheduler/scheduler_config.json"
_STEMS = {  # of the weight files
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
_ENDS = (".safetensors", ".safetensors.index.json")
_CONVERT = "load the pipeline with diffusers and call save_pretrained(folder, safe_serialization=True)"


def model_folder(model: ModelConfig) -> Path:
    """The checked diffusers folder of ``model``; a hub id is downloaded first, without its pickles.

    Raises ``WeightsError`` where there is no such model, a component is of an unknown class or has no safetensors.
    """
    folder = _locate(model)
    classes = read_json(folder / "model_index.json")
    for part, known in _parts(classes).items():
        found = classes.get(part)
        name = found[1] if isinstance(found, list) and len(found) == 2 else found
        if name not in known:
            raise WeightsError(f"{folder}/model_index.json: {part} is {name!r}; it must be {' or '.join(known)}")
        if part in _STEMS:
            safe_weights(folder / part, [f"{_STEMS[part]}{end}" for end in _ENDS], _CONVERT)
        elif not (folder / part).is_dir():
            raise WeightsError(f"{folder / part}: no such folder; copy the whole diffusers folder")
    return folder


def fingerprint(model: ModelConfig) -> str:
    """16 hexadecimal characters over the contents of the weights, configs and tokenizer of ``model``."""
    return folder_fingerprint(model_folder(model))


def folder_fingerprint(folder: Path) -> str:
    """The same for a checked folder; files are read once a process unless they change."""
    parts = _parts(read_json(folder / "model_index.json"))
    files = [folder / _SCHEDULER, *(file for part in parts for file in sorted((folder / part).iterdir()))]
    if parts != PARTS:
        files.append(folder / "model_index.json")  # says how the empty prompt of Stable Diffusion XL reads
    kept = [file for file in files if file.suffix in (".json", ".txt", ".safetensors") and file.is_file()]
    return contents(folder, kept)


def _parts(index: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The parts that a folder with this ``model_index.json`` must have."""
    return {**PARTS, **SECOND} if any(part in index for part in SECOND) else PARTS


def _locate(model: ModelConfig) -> Path:
    if model.path == "embedded":
        from farm.mini import weights_dir

        return weights_dir("diffusion")
    path = Path(model.path).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        raise WeightsError(f"{path}: is a file; give the diffusers folder that holds model_index.json")
    if is_hub_id(model.path):
        return _download(model)
    raise WeightsError(f"{model.path}: no such folder; set model.path to a diffusers folder, a hub id or embedded")


def _download(model: ModelConfig) -> Path:
    parts = {**PARTS, **SECOND}
    wanted = ["model_index.json", _SCHEDULER, *(f"{part}/{end}" for part in parts for end in ("*.json", "*.txt"))]
    wanted += [f"{part}/{stem}*.safetensors" for part, stem in _STEMS.items()]
    return fetch(model.path, model.revision, wanted, ["*.fp16*", "*non_ema*"], "a diffusers folder")
