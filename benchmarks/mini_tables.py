"""The tables of the embedded models' card: one function a benchmark, its JSON in, Markdown out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Told = dict[str, Any]
SHOWN = 3  # nearest and farthest surfaces


def kid(told: Told) -> str:
    """KID, FID and diversity of both kinds; the surfaces at both ends."""
    figures = told["figures"]
    sets = {"": "generated", ".real": "real renders", ".round_trip": "real renders, through the autoencoder"}
    lines = ["| pictures | set | KID x 1000 | FID | diversity |", "|---|---|---|---|---|"]
    for kind in ("normal", "defect"):
        for end, words in sets.items():
            near, spread = figures[f"{kind}.kid{end}"], figures.get(f"{kind}.diversity{end}")
            varied = "–" if spread is None else f"{spread['value']:.2f}"
            thousand = f"{1000 * near['value']:.1f} ± {500 * (near['high'] - near['low']):.1f}"
            lines.append(f"| {kind} | {words} | {thousand} | {figures[f'{kind}.fid{end}']['value']:.1f} | {varied} |")
    for kind in ("normal", "defect"):
        start = f"{kind}.surface."
        each = sorted((one["value"], name) for name, one in figures.items() if name.startswith(start))
        named = [f"{name.removeprefix(start)} {1000 * value:.0f}" for value, name in each]
        if named:
            near, far = ", ".join(named[:SHOWN]), ", ".join(named[-SHOWN:])
            lines += ["", f"{kind}, KID x 1000 by surface: nearest {near}; farthest {far}."]
    lines += ["", f"± is one standard deviation of subsets of 100. {_source(told)}"]
    return _page(lines)


def steering(told: Told) -> str:
    """How often the classifier reads what the caption said, in generated pictures and in renders."""
    figures = told["figures"]
    lines = ["| pictures | surface named rightly, % | defect or none, balanced, % |", "|---|---|---|"]
    for source, words in (("generated", "generated"), ("real", "held-out renders")):
        lines.append(
            f"| {words} | {_percent(figures[f'{source}.surface'])} | {_percent(figures[f'{source}.defect'])} |"
        )
    lines += ["", "| surface | surface named rightly, % | defect or none, balanced, % |", "|---|---|---|"]
    start = "generated.surface."
    for name in [key.removeprefix(start) for key in figures if key.startswith(start)]:
        lines.append(f"| {name} | {_pair(figures, 'surface', name)} | {_pair(figures, 'defect', name)} |")
    lines += ["", f"By surface: generated (renders). Intervals: 95 %, bootstrap over pictures. {_source(told)}"]
    return _page(lines)


def inversion(told: Told) -> str:
    """Relative error of inverting and sampling back: median, best and worst photograph."""
    lines = ["| set | prompt | median error, % | best and worst photograph, % |", "|---|---|---|---|"]
    for key, one in told["figures"].items():
        _, name, prompt = key.split(".")
        value, low, high = (f"{100 * one[end]:.2f}" for end in ("value", "low", "high"))
        lines.append(f"| {name} | {prompt} | {value} | {low}, {high} |")
    return _page([*lines, "", _source(told)])


def speed(told: Told) -> str:
    """Pictures a second."""
    words = {
        "generate.two_processes": "generate, two processes of one thread",
        "generate.two_threads": "generate, one process of two threads",
        "embed.efficientnet_lite0": "embed, EfficientNet-Lite0, two threads",
        "embed.clip": "embed, small CLIP, two threads",
    }
    lines = ["| work | images/s | slowest and fastest round |", "|---|---|---|"]
    for name, one in told["figures"].items():
        lines.append(f"| {words[name]} | {one['value']:.2f} | {one['low']:.2f}, {one['high']:.2f} |")
    machine = told["machine"]
    where = f"{machine['cpu']}, {machine['cpus']} cores, load {machine['load_1min']}."
    return _page([*lines, "", f"{where} {_source(told)}"])


def clip(told: Told) -> str:
    """Every figure of the small CLIP."""
    lines = ["| figure | value | low and high |", "|---|---|---|"]
    for name, one in told["figures"].items():
        ends = "–" if one["low"] is None else f"{one['low']}, {one['high']}"
        unit = "" if one["unit"] == "1" else f" {one['unit']}"
        lines.append(f"| {name.replace('_', ' ')} | {one['value']}{unit} | {ends} |")
    return _page([*lines, "", _source(told)])


TABLES: dict[str, Callable[[Told], str]] = {
    "mini_kid": kid,
    "mini_steering": steering,
    "mini_inversion": inversion,
    "mini_speed": speed,
    "mini_clip": clip,
}


def _percent(figure: Told) -> str:
    return f"{100 * figure['value']:.1f} ({100 * figure['low']:.1f} to {100 * figure['high']:.1f})"


def _pair(figures: Told, question: str, name: str) -> str:
    generated, real = (100 * figures[f"{source}.{question}.{name}"]["value"] for source in ("generated", "real"))
    return f"{generated:.0f} ({real:.0f})"


def _source(told: Told) -> str:
    return f"`{told['command']}`, commit {told['commit']}, n = {told['n']}."


def _page(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
