"""The run that every trial makes: rule-based defects on brushed plates, an embedder without a network, no torch."""

from pathlib import Path

import yaml

from tests.photos import make_tree

SIZE_PX = 256  # about 30 ms a row, so that a run lasts long enough to be hit
SHARD_ROWS = 8


def make_photographs(folder: Path) -> Path:
    """The normals and few-shot photographs of every trial, always the same."""
    return make_tree(folder, train=12, test=1, shots=2, side=SIZE_PX)


def write_config(path: Path, photographs: Path, shards: int, generators: int) -> Path:
    """A config of ``shards`` shards with ``generators`` generating actors; the output is given on the command line."""
    tree = {
        "name": "chaos",
        "output": "given with --set",
        "rows": shards * SHARD_ROWS,
        "size_px": SIZE_PX,
        "data": {"kind": "mvtec", "root": str(photographs), "category": "plate"},
        "prompts": {"normal": "a photo of a plate", "defects": [{"name": "disc", "prompt": "a plate with a disc"}]},
        "compute": {"batch_size": 4},
        "methods": [{"kind": "rules", "recipes": ["copy_paste", "scar", "noise", "poisson"]}],
        "embed": {"kind": "pixels"},
        "cluster": {
            "shard_rows": SHARD_ROWS,
            "num_cpus": 2 * max(1, generators),
            "generate": {"actors": generators},
            "stall_timeout_s": 120,
        },
    }
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path
