"""Tables in docs from the JSON of benchmarks: python benchmarks/tables.py [--check]

A table stands between ``<!-- table:NAME -->`` and ``<!-- end -->``; this script writes what is between. ``--check``
writes nothing and exits 1 where a table differs (a test runs it).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import farm_tables, methods_tables, mini_tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (
    "docs/results.md",
    "docs/methods.md",
    "docs/reliability.md",
    "docs/filter.md",
    "README.md",
    "farm/mini/weights/MODEL_CARD.md",
)
MARK = re.compile(r"(<!-- table:([a-z0-9_]+) -->\n).*?(<!-- end -->)", re.DOTALL)
COUNTS = ("planned", "kept", "refused", "failed", "poisoned")
METRICS = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1": "pixel F1-max",
    "aupro": "AUPRO",
}


def read(name: str) -> dict[str, Any]:
    """A benchmark's JSON."""
    told: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return told


def stages(*names: str) -> str:
    """A table of both stages of some runs, with the gain in image AUROC and its interval."""
    told = {name: read(name) for name in names if (RESULTS / f"{name}.json").exists()}
    if not told:
        return "Not measured yet.\n"
    columns = [key for key in METRICS if any(f"stage1.{key}" in one["figures"] for one in told.values())]
    lines = [
        "| set | detector | " + " | ".join(METRICS[key] for key in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for name, one in told.items():
        for stage, words in (("stage1", "stage 1: rules"), ("stage2", "stage 2: + kept generated")):
            cells = [_cell(one["figures"].get(f"{stage}.{key}")) for key in columns]
            lines.append(f"| {name} | {words} | " + " | ".join(cells) + " |")
    for name, one in told.items():
        gain, rows = one["figures"]["gain.image_auroc"], one["figures"]
        lines += [
            "",
            f"{name}: {_accounts(rows)}; {one['n']} test photographs; gain in image AUROC "
            f"{100 * gain['value']:+.1f} points, 95 % interval {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f} "
            f"(bootstrap over groups). `{one['command']}`, commit {one['commit']}, {one['machine']['cpu']}, "
            f"{one['machine']['cpus']} cores, one seed.",
        ]
    return "\n".join(lines) + "\n"


def autoencoder() -> str:
    """PSNR of the embedded autoencoder, with the middle 80 % of the crops."""
    told = read("mini_autoencoder")
    lines = ["| set | PSNR, dB | worst and best tenth of the crops | TAEF2, dB |", "|---|---|---|---|"]
    for name in [key.removeprefix("psnr.") for key in told["figures"] if key.startswith("psnr.")]:
        one, other = told["figures"][f"psnr.{name}"], told["figures"].get(f"reference.{name}", {"value": "–"})
        lines.append(f"| {name} | {one['value']} | {one['low']}, {one['high']} | {other['value']} |")
    lines += ["", f"`{told['command']}`, commit {told['commit']}, n = {told['n']}."]
    return "\n".join(lines) + "\n"


def measured(name: str, table: Callable[[dict[str, Any]], str]) -> str:
    """``table`` of a benchmark's JSON; nothing where it was never run."""
    return table(read(name)) if (RESULTS / f"{name}.json").exists() else ""


TABLES = {
    "autoencoder": autoencoder,
    **{name: partial(measured, name, table) for name, table in (mini_tables.TABLES | farm_tables.TABLES).items()},
    "methods_bsdata": partial(measured, "methods_bsdata", partial(methods_tables.methods, "bsdata")),
    "methods_magnetic_tile": partial(
        measured, "methods_magnetic_tile", partial(methods_tables.methods, "magnetic_tile")
    ),
    "adapt": partial(measured, "adapt", methods_tables.adaptation),
    "variational": partial(measured, "variational", methods_tables.variational),
    "real": lambda: stages("bsdata", "magnetic_tile"),
    "demo": lambda: stages("demo"),
}


def render(text: str) -> str:
    """``text`` with every marked table written anew."""
    return MARK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def _accounts(figures: dict[str, Any]) -> str:
    planned, *parts = (
        f"{int(figures[f'rows.{name}']['value'])} {name}" for name in COUNTS if f"rows.{name}" in figures
    )
    return f"{planned} = {' + '.join(parts)}"


def _cell(figure: dict[str, Any] | None) -> str:
    return "–" if figure is None else f"{100 * figure['value']:.1f}"


def main() -> int:
    """Write or check every page."""
    stale = []
    for name in PAGES:
        page = ROOT / name
        before = page.read_text()
        after = render(before)
        if before != after:
            stale.append(name)
            if "--check" not in sys.argv:
                page.write_text(after)
    print(f"{'stale' if '--check' in sys.argv else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
