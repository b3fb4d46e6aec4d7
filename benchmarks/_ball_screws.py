"""Runs over the ball screws of bsdata, for benchmarks that make a few images of their own."""

from pathlib import Path
from typing import Any

from farm.config import Run, parse


def ball_screws(where: str, data: Path, output: Path, rows: int, methods: list[dict[str, Any]], **changes: Any) -> Run:
    """The run at 128 px over bsdata_pitting in ``data``; ``where`` is told in messages, ``changes`` are top-level."""
    tree = {
        "name": "ball_screws",
        "output": str(output),
        "seed": 1,
        "rows": rows,
        "size_px": 128,
        "data": {"kind": "mvtec", "root": str(data), "category": "bsdata_pitting"},
        "prompts": {
            "normal": "a photo of grooved steel",
            "defects": [{"name": "pitting", "prompt": "a photo of grooved steel with pitting"}],
        },
        "methods": methods,
        "filter": {"min_changed_area": 0.0002, "low_margin": 0.25},
    }
    return parse(tree | changes, where)
