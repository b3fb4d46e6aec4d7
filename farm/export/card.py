"""The card of an export, README.md: what it holds, where it comes from, under which licences, and what it is not.

Its head is YAML as Hugging Face reads it. Texts of users stay text: none of them makes a heading, a table or HTML.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from farm.export.base import Format
from farm.export.contents import REFUSED, Contents
from farm.export.licences import UNKNOWN, model_licence, source_licences
from farm.export.pictures import PHOTOGRAPH
from farm.run_folder import RunFolder

Exported = Counter[tuple[str, str]]  # (method, or PHOTOGRAPH; label) → pictures
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGEST = "n>1M"
LIMITS = (
    "The pictures are synthetic. A filter kept them by rules and vectors; no person looked at each.",
    "Backgrounds come from the run's normal photographs alone, so light, camera and parts vary no more than there.",
    "A mask marks the pixels that a method changed visibly. No person drew it, and its edge is a threshold's.",
    "Only the kinds of defect above occur, as often as the run was asked for them: shares are not a production line's.",
    "Pictures with one `source_id` share a photograph: keep them in one split.",
    "Do not report a score on these pictures as one on real defects.",
)


def card(folder: RunFolder, form: Format, contents: Contents, exported: Exported, unmarked: int) -> bytes:
    """The card. ``unmarked``: kept defects that were left out, since their mask marks nothing."""
    settings, run = folder.settings(), folder.run()
    sections = {
        "Layout": [form.about],
        "Pictures": _pictures(exported, unmarked),
        "What the run made": _accounts(contents),
        "Provenance": _provenance(settings),
        "Licences": _licences(folder, settings, PHOTOGRAPH in {method for method, _ in exported}),
        "Known limits": [f"- {line}" for line in LIMITS],
    }
    lines = [_head(run.name, exported.total()), f"# {run.name}: generated defects of {_plain(contents.category)}", ""]
    for heading, body in sections.items():
        lines += [f"## {heading}", "", *body, ""]
    return "\n".join(lines).encode()


def _head(name: str, count: int) -> str:
    head = {
        "pretty_name": name,
        "license": "other",
        "task_categories": ["image-segmentation"],
        "tags": ["synthetic", "defect-detection"],
        "size_categories": [next((text for most, text in _SIZES if count < most), _LARGEST)],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n"


def _pictures(exported: Exported, unmarked: int) -> list[str]:
    rows = [(method, label, str(count)) for (method, label), count in sorted(exported.items())]
    left = [f"\n{unmarked} kept defects are left out: their masks mark nothing."] if unmarked else []
    return [f"{exported.total()} pictures.", "", *_table(("method", "label", "pictures"), rows), *left]


def _accounts(contents: Contents) -> list[str]:
    rows = [(*key, str(count)) for key, count in sorted(contents.verdicts.items())]
    reasons = [(_plain(reason), str(count)) for reason, count in contents.reasons.most_common()]
    reasons.sort(key=lambda row: (-int(row[1]), row[0]))
    refused = ["", f"Why pictures were {REFUSED}:", "", *_table(("reason", "pictures"), reasons)] if reasons else []
    return [*_table(("method", "label", "verdict", "rows"), rows), *refused]


def _provenance(settings: dict[str, Any]) -> list[str]:
    config, prints = settings["config"], settings["fingerprints"]
    facts = {"run": config["name"], "seed": config["seed"], "size": f"{config['size_px']} px"}
    facts |= {f"fingerprint of {name}": prints.get(name, UNKNOWN) for name in ("plan", "photos", "model", "judge")}
    facts |= {"commit": settings.get("commit", UNKNOWN), **dict(settings.get("versions") or {})}
    return _table(("what", "value"), [(_plain(name), _plain(value)) for name, value in facts.items()])


def _licences(folder: RunFolder, settings: dict[str, Any], copied: bool) -> list[str]:
    model = folder.run().model
    used = settings["fingerprints"].get("model") != "none"
    base = f"{_plain(model.path)}, {_plain(model_licence(model))}" if used else "none was used"
    told = "; ".join(map(_plain, source_licences(folder)))
    held = "Normals of its training split are copied here." if copied else "None of them is copied here."
    return [
        f"- Photographs that the run learned from or painted on: {told}. {held} Generated ones show their grounds.",
        f"- Base model: {base}.",
        "- Whether these pictures may be used or passed on follows from both. `unknown` means that nobody said, not "
        "that you may.",
    ]


def _table(heading: tuple[str, ...], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_line(heading), _line(["---"] * len(heading)), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: object) -> str:
    """``text`` as one line in which no sign means anything to Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&])", r"\\\1", " ".join(str(text).split()))
