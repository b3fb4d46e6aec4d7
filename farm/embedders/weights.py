"""Which files an embedder is: a local folder or file, or a hub id → a folder on this disk; and what names them.

No torch here: a driver names an embedder's weights, and misses them, without loading a network.
"""

from pathlib import Path

from farm import mini
from farm.config import EmbedConfig
from farm.errors import WeightsError
from farm.model_files import contents, fetch, is_hub_id, refuse_pickle

HUB = "hf-hub:"  # may stand before a hub id, as timm writes it; a revision may follow it after "@"
_KEPT = (".json", ".txt", ".safetensors")


def weights_fingerprint(config: EmbedConfig) -> str:
    """16 hexadecimal characters for the folder, or for each of the files, of ``config``; "" where it gives none.

    A name of open_clip's or timm's registry, with its tag, stands for one set of weights. Whatever else is given is
    named by its contents: other weights under the same path make other vectors. Raises as the two functions below do.
    """
    if config.kind == "open_clip" and config.model == "embedded":
        return mini.clip_fingerprint()
    folder = weights_folder(config)
    if folder is not None:
        return contents(folder, sorted(path for path in folder.iterdir() if path.suffix in _KEPT and path.is_file()))
    file = weights_file(config)
    files = [Path(config.model or "").expanduser(), *([] if file is None else [file])]
    return " ".join(contents(path.parent, [path]) for path in files if path.is_file())


def weights_folder(config: EmbedConfig) -> Path | None:
    """The folder of ``config.model``; a hub id of timm's or transformers' is fetched. None for a name or a file.

    Raises ``WeightsError`` where there is no such folder, and where the hub does not answer or knows no such model.
    """
    model = config.model or ""
    if config.kind == "open_clip" or local_folder(model) is not None:
        return local_folder(model)
    if is_hub_id(model.removeprefix(HUB).partition("@")[0]):
        return hub_folder(model)
    if config.kind == "transformers" or "/" in model:
        name = ", or to a registered name (a file of weights goes into embed.pretrained)"
        raise WeightsError(
            f"{model}: no such folder, nor a hub id (owner/name); set embed.model to one"
            f"{name if config.kind == 'timm' else ''}"
        )
    return None


def weights_file(config: EmbedConfig) -> Path | None:
    """The local file that ``config.pretrained`` names, if it names one.

    Raises ``WeightsError`` where one of timm's is absent, or no safetensors.
    """
    if config.pretrained is None:
        return None
    path = Path(config.pretrained).expanduser()
    if config.kind == "timm":
        refuse_pickle(path, "Convert it where you trust it: load it with timm and save its tensors as .safetensors")
        if not path.is_file() or path.suffix != ".safetensors":
            raise WeightsError(f"{path}: no such .safetensors file; give one of '{config.model}' as embed.pretrained")
    return path if path.is_file() else None


def local_folder(model: str) -> Path | None:
    """The folder on this disk that ``model`` names, if it names one."""
    folder = Path(model).expanduser()
    return folder.resolve() if model and folder.is_dir() else None


def hub_folder(model: str) -> Path:
    """The local snapshot of a hub id, fetched where it is not cached, without pickles. Raises ``WeightsError``."""
    hub_id, _, revision = model.removeprefix(HUB).partition("@")
    wanted = [f"*{suffix}" for suffix in _KEPT]
    return fetch(hub_id, revision or None, wanted, ["*/*", "*.fp16*"], "the model's folder as embed.model")


def label(model: str) -> str:
    """``model`` for cards and reports: a name or hub id as it is given, of a path the last name."""
    return Path(model).name if local_folder(model) is not None else model.removeprefix(HUB)
