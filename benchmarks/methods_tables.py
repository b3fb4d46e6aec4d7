"""The tables of docs/methods.md, from the JSON of ``benchmarks/methods.py``, ``adapt.py`` and ``variational.py``."""

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
    fitted = f"Fitted in {', '.join(fits)}. " if fits else ""
    planned, *parts = (
        f"{int(one['value'])} {key.removeprefix('rows.')}" for key, one in figures.items() if key.startswith("rows.")
    )
    told_rows = f"{planned} = {' + '.join(parts)}"
    machine = f"{told['machine']['cpu']}, {told['machine']['cpus']} cores, one seed"
    lines += [
        "",
        "± is one standard deviation of subsets of 100; both IoU are medians, with the worst and best tenth. "
        f"{fitted}{told_rows}. `{told['command']}`, commit {told['commit']}, {machine}.",
    ]
    return "\n".join(lines) + "\n"


def adaptation(told: Told) -> str:
    """Adapting the decoder one by one and the farm's way, on each data set."""
    figures = told["figures"]
    lines = [
        "| photographs | one by one, s an image | the farm, s an image | times as fast | error: one by one | "
        "the farm |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(key.split(".")[0] for key in figures):
        of = {key.split(".", 1)[1]: one for key, one in figures.items() if key.startswith(f"{name}.")}
        slow, fast = of["one_by_one.seconds"]["value"], of["farm.seconds"]["value"]
        faster, errors = _range(of, "faster", 1), [_range(of, f"{way}.background") for way in ("one_by_one", "farm")]
        lines.append(f"| {name} | {slow:.1f} | {fast:.1f} | {faster} | {errors[0]} | {errors[1]} |")
    machine = f"{told['machine']['cpu']}, {told['machine']['cpus']} cores beside other work"
    source = f"`{told['command']}`, commit {told['commit']}, {machine}"
    lines += ["", f"Medians, in brackets the extremes; n = {told['n']}. {source}."]
    return "\n".join(lines) + "\n"


ARMS = {
    "real": "the normals alone",
    "generated": "+ generated",
    "light": "+ lightly changed",
    "more_real": "+ as many more real ones",
    "other": "+ generated for another set",
}
DETECTORS = {"patchcore": "PatchCore", "gaussian": "Gaussian"}
SHOTS = {"1shot": "1", "5shot": "5", "full": "all"}


def variational(told: Told) -> str:
    """Image AUROC of the one-class detectors with what each arm adds to few normals."""
    figures = told["figures"]
    lines = [
        "![Real normals, each before four images generated from five](images/variational.png)",
        "",
        "| set | normals | detector | " + " | ".join(ARMS.values()) + " | gain of generated |",
        "|---|---|---|" + "---|" * (len(ARMS) + 1),
    ]
    names = list(dict.fromkeys(key.split(".")[0] for key in figures))
    for name in names:
        for shots, count in SHOTS.items():
            for detector, words in DETECTORS.items():
                place = f"{name}.{shots}.{detector}"
                cells = [_auroc(figures.get(f"{place}.{arm}")) for arm in ARMS]
                gain = figures[f"{place}.generated.gain"]
                low, high = 100 * gain["low"], 100 * gain["high"]
                cells.append(f"{100 * gain['value']:+.1f} ({low:+.1f}, {high:+.1f})")
                lines.append(f"| {name} | {count} | {words} | " + " | ".join(cells) + " |")
    made = [
        f"{name} from {count} {int(figures[f'{name}.{shots}.made']['value'])} of "
        f"{int(figures[f'{name}.{shots}.asked']['value'])}"
        for name in names
        for shots, count in SHOTS.items()
    ]
    machine = f"{told['machine']['cpu']}, {told['machine']['cpus']} cores"
    lines += [
        "",
        f"Image AUROC in per cent, mean of {told['n']} seeds with the extremes. Made of those asked for, after three "
        f"tries each: {', '.join(made)}. `{told['command']}`, commit {told['commit']}, {machine}.",
    ]
    return "\n".join(lines) + "\n"


def _auroc(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "–"
    return f"{100 * figure['value']:.1f} ({100 * figure['low']:.1f}, {100 * figure['high']:.1f})"


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


def _range(of: dict[str, Any], name: str, digits: int = 2) -> str:
    if name not in of:
        return "–"
    value, low, high = (f"{of[name][key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low}, {high})"
