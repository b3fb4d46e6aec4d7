"""Settings of a small valid run, as a config file has them."""

from typing import Any


def settings_tree(**changes: Any) -> dict[str, Any]:
    """``changes`` replace settings of the top level."""
    base: dict[str, Any] = {
        "name": "a",
        "output": "runs/a",
        "rows": 10,
        "data": {"kind": "textile", "category": "textile"},
        "prompts": {
            "normal": "a photo of felt",
            "defects": [{"name": "hole", "prompt": "a photo of felt with a hole"}],
        },
        "methods": [{"kind": "rules"}],
    }
    return base | changes
