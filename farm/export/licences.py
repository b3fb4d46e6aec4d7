"""Under which licences the things are that an export was made from; ``UNKNOWN`` where nothing says it."""

import re
from pathlib import Path

import yaml

from farm.config import ModelConfig
from farm.datasets.tree import LICENCE_CHARACTERS
from farm.run_folder import RunFolder
from farm.source_index import NAME

UNKNOWN = "unknown"
EMBEDDED = "embedded"
_EMBEDDED_LINE = re.compile(r"^Weights: (.+)\.$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)


def source_licences(folder: RunFolder) -> list[str]:
    """What the index of photographs says, each text once."""
    told = folder.read_table(NAME)["licence"].unique().to_pylist()
    return sorted({text for text in told if text}) or [UNKNOWN]


def model_licence(model: ModelConfig) -> str:
    """What the model's card says: of the embedded model, or of a folder with a README.md as model hubs have it."""
    if model.path == EMBEDDED:
        from farm.mini import weights_dir

        found = _EMBEDDED_LINE.search(_text(weights_dir("diffusion").parent / "MODEL_CARD.md"))
        return found[1] if found else UNKNOWN
    front = _FRONT_MATTER.match(_text(Path(model.path).expanduser() / "README.md"))
    try:
        told = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError:
        return UNKNOWN
    licence = (told.get("license_name") or told.get("license")) if isinstance(told, dict) else None
    return str(licence)[:LICENCE_CHARACTERS] if licence else UNKNOWN


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
