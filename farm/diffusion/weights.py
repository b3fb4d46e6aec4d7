"""Which files a model is: a local diffusers folder, a hub id or the embedded model → a checked folder, and its name.

No torch here: a driver that only needs the fingerprint loads no network. Only safetensors are ever read; a pickle
can run code when it is opened, so a folder that has nothing else is refused.
"""

import hashlib
import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from farm.config import ModelConfig
from farm.errors import WeightsError

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
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack")
_SCHEDULER = "scheduler/scheduler_config.json"
_STEMS = {  # of the weight files
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


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
            _check_weights(folder / part, _STEMS[part])
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
    stats = tuple((str(file.relative_to(folder)), file.stat().st_size, file.stat().st_mtime_ns) for file in kept)
    return _hash(str(folder), stats)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from disk; ``WeightsError`` where the file is missing or is none."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); a diffusers folder has this file") from error
    except ValueError as error:
        raise WeightsError(f"{path}: is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise WeightsError(f"{path}: found {type(tree).__name__}; it must be a JSON object")
    return tree


def _parts(index: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """The parts that a folder with this ``model_index.json`` must have."""
    return {**PARTS, **SECOND} if any(part in index for part in SECOND) else PARTS


@lru_cache(maxsize=16)
def _hash(folder: str, stats: tuple[tuple[str, int, int], ...]) -> str:
    whole = hashlib.blake2b(digest_size=8)
    for name, _, _ in stats:
        with (Path(folder) / name).open("rb") as file:
            content = hashlib.file_digest(file, "blake2b").hexdigest()
        whole.update(f"{name} {content}\n".encode())
    return whole.hexdigest()


def _locate(model: ModelConfig) -> Path:
    if model.path == "embedded":
        from farm.mini import weights_dir

        return weights_dir("diffusion")
    path = Path(model.path).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        raise WeightsError(f"{path}: is a file; give the diffusers folder that holds model_index.json")
    if _HUB_ID.fullmatch(model.path):
        return _download(model)
    raise WeightsError(f"{model.path}: no such folder; set model.path to a diffusers folder, a hub id or embedded")


def _check_weights(folder: Path, stem: str) -> None:
    if (folder / f"{stem}.safetensors").is_file() or (folder / f"{stem}.safetensors.index.json").is_file():
        return
    pickles = sorted(file for file in folder.glob("*") if file.suffix in PICKLES)
    if pickles:
        raise WeightsError(
            f"{pickles[0]}: weights are a pickle, which can run code when opened; only safetensors are loaded. "
            f"Take a revision of the model that has {stem}.safetensors, or convert it where you trust it: "
            "load the pipeline with diffusers and call save_pretrained(folder, safe_serialization=True)"
        )
    raise WeightsError(f"{folder}: holds no {stem}.safetensors; copy the whole diffusers folder")


def _download(model: ModelConfig) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    parts = {**PARTS, **SECOND}
    wanted = ["model_index.json", _SCHEDULER, *(f"{part}/{end}" for part in parts for end in ("*.json", "*.txt"))]
    wanted += [f"{part}/{stem}*.safetensors" for part, stem in _STEMS.items()]
    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        return Path(
            snapshot_download(
                model.path,
                revision=model.revision,
                allow_patterns=wanted,
                ignore_patterns=["*.fp16*", "*non_ema*"],
            )
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{model.path}: is no local folder and could not be fetched from the hub ({reason}); give the path of a "
            "diffusers folder, or log in and connect once so that the files are cached"
        ) from error
    finally:
        if not silent:
            enable_progress_bars()
