"""The report: everything a run folder holds, as one HTML page that needs no network and no other file.

All text is escaped by the template engine, and the page's own policy lets no script run but ours (its hash is in the
page), so a hostile file name or prompt stays text. The same folder gives the same bytes.
"""

import base64
import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from farm.report.accounts import Accounts, account
from farm.report.gallery import choices, photo_cards, sample_cards
from farm.report.gates import gate_charts
from farm.report.inputs import KEPT, Inputs, read_inputs
from farm.report.results import results
from farm.run_folder import RunFolder

_MAX_PHOTOS = 36
_LEDGER = {
    "method": "Method",
    "recipe": "Recipe",
    "defect": "Defect",
    "attempts": "Attempts",
    "kept": "Kept",
    "refused": "Refused",
    "failed": "Failed",
    "poisoned": "Poisoned",
    "evaluations_per_kept": "Evaluations a kept",
    "device_s_per_kept": "Device s a kept",
    "bytes_per_kept": "Bytes a kept",
}


@dataclass(frozen=True)
class Phase:
    """One line of the timing table; ``share`` is of the longest line."""

    name: str
    seconds: float
    rows: int
    share: float
    kept: int | None = None

    @property
    def per_row(self) -> str:
        """Seconds for one row, as text."""
        return f"{self.seconds / self.rows:.3f} s" if self.rows else ""

    @property
    def per_kept(self) -> str:
        """Seconds for one kept row, as text."""
        return f"{self.seconds / self.kept:.2f} s" if self.kept else "none kept"


def build_report(folder: RunFolder, out: str = "report/index.html", max_gallery: int = 300) -> str:
    """Write the page of ``folder`` as ``out`` inside it and return its path or URL.

    The gallery shows at most ``max_gallery`` samples, balanced over verdict, method and defect. Parts of the run that
    do not exist yet are named as not run yet. Raises ``RunError`` where the folder is no run folder.
    """
    inputs = read_inputs(folder)
    page = _template().render(**_context(inputs, max_gallery))
    folder.store.write(out, page.encode())
    return folder.store.url(out)


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"share": _share, "seconds": _seconds}
    return environment.from_string(_own("page.html.j2"))


def _own(name: str) -> str:
    return files("farm.report").joinpath(name).read_text(encoding="utf-8")


def _context(inputs: Inputs, max_gallery: int) -> dict[str, Any]:
    script = _own("page.js")
    cards = sample_cards(inputs, max_gallery)
    accounts = account(inputs)
    return {
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "style": Markup(_own("style.css")),
        "run": inputs.run,
        "inputs": inputs,
        "accounts": accounts,
        "bar": _bar(accounts),
        "cards": cards,
        "filters": [(key, choices(cards, key)) for key in ("method", "defect", "reason")],
        "verdicts": choices(cards, "outcome"),
        "results": results(inputs),
        "photos": photo_cards(inputs, _MAX_PHOTOS),
        "photo_count": max((len(scores["photo_id"]) for scores in inputs.scores.values()), default=0),
        "histograms": [Markup(chart) for chart in gate_charts(inputs)],
        "phases": _phases(inputs.phases),
        "costs": _costs(inputs),
        "ledger": _ledger(inputs.ledger),
        "splits": Counter(str(photo["split"]).replace("_", " ") for photo in inputs.photos.values()),
        "facts": _facts(inputs),
        "config": yaml.safe_dump(inputs.settings.get("config", {}), sort_keys=False, allow_unicode=True),
    }


def _bar(accounts: Accounts) -> list[tuple[str, int, float]]:
    """(outcome, rows, share) of every outcome that occurs, in the order of the table."""
    outcomes = dict.fromkeys(line.outcome for line in accounts.lines)
    return [(name, accounts.total(name), accounts.share(name)) for name in outcomes if accounts.total(name)]


def _phases(phases: list[dict[str, Any]]) -> list[Phase]:
    longest = max((float(phase["seconds"]) for phase in phases), default=0.0) or 1.0
    return [
        Phase(
            str(phase["name"]), float(phase["seconds"]), int(phase.get("rows") or 0), float(phase["seconds"]) / longest
        )
        for phase in phases
    ]


def _costs(inputs: Inputs) -> list[Phase]:
    """Worker seconds by method, summed over shards, with the rows that were kept."""
    spent: dict[str, tuple[int, float]] = {}
    for costs in inputs.costs:
        for method, cost in costs.get("by_method", {}).items():
            rows, seconds = spent.get(method, (0, 0.0))
            spent[method] = rows + int(cost["rows"]), seconds + float(cost["seconds"])
    longest = max((seconds for _, seconds in spent.values()), default=0.0) or 1.0
    kept = inputs.samples["method"][inputs.samples["outcome"] == KEPT]
    return [
        Phase(method, seconds, rows, seconds / longest, int((kept == method).sum()) if inputs.judged else None)
        for method, (rows, seconds) in sorted(spent.items())
    ]


def _ledger(lines: list[dict[str, Any]]) -> list[list[str]]:
    """ledger.parquet as text, heading first, with those of its columns that are known; empty where there is none."""
    names = [name for name in _LEDGER if lines and name in lines[0]]
    table = [[_LEDGER[name] for name in names]] if names else []
    return table + [[_entry(line[name]) for name in names] for line in lines if names]


def _entry(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _facts(inputs: Inputs) -> list[tuple[str, dict[str, str]]]:
    """(heading, name → value) of what the run was made with."""
    run, settings = inputs.run, inputs.settings
    first = {
        "name": run.name,
        "folder": inputs.folder.store.root,
        "commit": str(settings.get("commit") or "unknown"),
        "seed": str(run.seed),
        "model": run.model.path,
        "embedder": run.embed.kind,
        "data": f"{run.data.kind}, {run.data.category}",
        "shards done": f"{inputs.shards} of {inputs.folder.shard_count()}",
    }
    groups = [("Run", first)]
    for heading in ("fingerprints", "versions", "hardware"):
        found = settings.get(heading)
        if found:
            groups.append((heading.capitalize(), _flat(found)))
    return groups


def _flat(found: Any) -> dict[str, str]:
    entries = found.items() if isinstance(found, dict) else [("", found)]
    return {str(name): _plain(value) for name, value in entries}


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def _share(value: float) -> str:
    return "0 %" if value == 0 else f"{100 * value:.1f} %"


def _seconds(value: float) -> str:
    if not math.isfinite(value):
        return "unknown"
    minutes, seconds = divmod(round(value), 60)
    return (
        f"{minutes // 60} h {minutes % 60:02d} min"
        if minutes >= 60
        else (f"{minutes} min {seconds:02d} s" if minutes else f"{value:.1f} s")
    )
