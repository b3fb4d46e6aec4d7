"""The tables of docs/methods.md: one a data set, from the JSON of ``benchmarks/methods.py``."""

from __future__ import annotations

from typing import Any

Told = dict[str, Any]
WORDS = {
    "shots": "few-shot photographs",
    "normals": "normal photographs, nothing added",
    "copy_paste": "rule: copy-paste",
    "perlin": "rule: Perlin texture",
    "background_aware": "`background_aware`, fitted",
    "adabldm": "`adabldm`, fitted",
    "dual": "`dual`, fitted",
    "dual_blowhole": "`dual`, fitted",
    "dual_crack": "`dual`, fitted",
    "held_out": "held-out photographs",
}
HEAD = (
    "| defect | images | n | KID x 1000 | KID x 1000, crops | diversity | background error | IoU_diff | IoU_seg | "
    "refused, % |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
COSTS = (
    "| images | seconds a kept image | evaluations a kept image | with an inversion for each image |",
    "|---|---|---|---|",
)


def methods(name: str, told: Told) -> str:
    """The strip; nearness, diversity, alignment and refusals by defect and arm; then what a kept image costs."""
    figures = told["figures"]
    defects = list(dict.fromkeys(key.split(".")[0] for key in figures if key.count(".") == 2))
    picture = f"![{name}: kept images of each method above the same with their label](images/methods_{name}.png)"
    lines = [picture, "", *HEAD]
    for defect in defects:
        for arm, words in WORDS.items():
            if any(f"{defect}.{arm}.{one}" in figures for one in ("kid", "refused", "iou_seg")):
                of = {key.split(".", 2)[2]: one for key, one in figures.items() if key.startswith(f"{defect}.{arm}.")}
                lines.append(f"| {defect} | {words} | " + " | ".join(_cells(of)) + " |")
    lines += ["", *COSTS]
    for arm, words in WORDS.items():
        if f"{arm}.seconds" in figures:
            each = [figures.get(f"{arm}.{one}") for one in ("seconds", "evaluations", "evaluations.without")]
            cells = ["–" if one is None else f"{one['value']:.{1 + (place == 0)}f}" for place, one in enumerate(each)]
            of = arm.removeprefix("dual_") if arm.startswith("dual_") else ""
            lines.append(f"| {words}{of and f' on {of}s'} | " + " | ".join(cells) + " |")
    fits = [
        f"{key.removeprefix('seconds.fit ')} {one['value'] / 60:.0f} min"
        for key, one in figures.items()
        if key.startswith("seconds.fit ")
    ]
    rows = {count: int(figures[f"rows.{count}"]["value"]) for count in ("planned", "kept", "refused", "failed")}
    told_rows = f"{rows['planned']} planned = {rows['kept']} kept + {rows['refused']} refused + {rows['failed']} failed"
    machine = f"{told['machine']['cpu']}, {told['machine']['cpus']} cores, one seed"
    lines += [
        "",
        "± is one standard deviation of subsets of 100; both IoU are medians, with the worst and best tenth. "
        f"Fitted in {', '.join(fits)}. {told_rows}. `{told['command']}`, commit {told['commit']}, {machine}.",
    ]
    return "\n".join(lines) + "\n"


def _cells(of: dict[str, Any]) -> list[str]:
    return [
        _plain(of, "images", 1, 0),
        _spread(of, "kid"),
        _spread(of, "kid_crop"),
        _plain(of, "diversity", 1, 2),
        _plain(of, "background_error", 1, 2),
        _range(of, "iou_diff"),
        _range(of, "iou_seg"),
        _plain(of, "refused", 100, 0),
    ]


def _plain(of: dict[str, Any], name: str, times: float, digits: int) -> str:
    return f"{times * of[name]['value']:.{digits}f}" if name in of else "–"


def _spread(of: dict[str, Any], name: str) -> str:
    if name not in of:
        return "–"
    return f"{1000 * of[name]['value']:.1f} ± {500 * (of[name]['high'] - of[name]['low']):.1f}"


def _range(of: dict[str, Any], name: str) -> str:
    if name not in of:
        return "–"
    return f"{of[name]['value']:.2f} ({of[name]['low']:.2f}, {of[name]['high']:.2f})"
