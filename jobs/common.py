"""What the jobs share: the config argument, overrides, and where progress goes."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from cluster.progress import Progress, Shown, Silent
from farm.config import Run, load

F = TypeVar("F", bound=Callable[..., Any])


def config_options(function: F) -> F:
    """CONFIG, ``--set a.b=c`` (repeatable) and ``--json``."""
    function = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(function)
    function = click.option(
        "--set", "overrides", multiple=True, metavar="A.B=C", help="Override a setting; may be repeated."
    )(function)
    return click.argument("config", type=click.Path(dir_okay=False))(function)


def open_run(config: str, overrides: tuple[str, ...]) -> Run:
    """The settings of ``config`` with ``overrides``."""
    return load(config, overrides)


def progress(as_json: bool) -> Progress:
    """Progress on standard error, or none where a machine reads the result."""
    return Silent() if as_json else Shown()


def accounts(counts: dict[str, int]) -> str:
    """Where the planned rows went, as a sum."""
    parts = " + ".join(f"{name} {count}" for name, count in counts.items() if name != "planned")
    return f"planned {counts['planned']} = {parts}"


def summary(result: dict[str, Any]) -> str:
    """Counts, metrics and the page, for a person."""
    counts, metrics = result["counts"], result["metrics"]
    lines = [
        accounts(counts),
    ]
    for stage, values in metrics.items():
        shown = [
            f"{key} {values[key]:.3f}"
            for key in ("image_auroc", "image_ap", "pixel_auroc", "pixel_ap")
            if key in values
        ]
        lines.append(f"{stage}: " + ", ".join(shown))
    lines.append(f"report: {result['report']}")
    return "\n".join(lines)
