"""Histograms and curves as SVG text. Colours are CSS variables of the page, so that charts follow light and dark.

Equal inputs give equal bytes: Matplotlib's ids are salted, time stamps are left out, text stays text.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Matplotlib wants colours, the page wants variables: these stand in for them and are replaced in the SVG.
_VARIABLES = {
    "ink": "#0a0101",
    "muted": "#0a0202",
    "line": "#0a0303",
    "kept": "#0a0404",
    "refused": "#0a0505",
    "stage1": "#0a0606",
    "stage2": "#0a0707",
    "unjudged": "#0a0808",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "text.color": _VARIABLES["ink"],
    "axes.edgecolor": _VARIABLES["line"],
    "axes.labelcolor": _VARIABLES["muted"],
    "xtick.color": _VARIABLES["line"],
    "ytick.color": _VARIABLES["line"],
    "xtick.labelcolor": _VARIABLES["muted"],
    "ytick.labelcolor": _VARIABLES["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "path.simplify": False,
}
_WIDE, _NARROW = (4.8, 2.3), (3.5, 2.5)  # inches
_BINS = 40

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Threshold:
    """A limit of the judge, drawn as a line with its text."""

    value: float
    text: str


def histogram(
    groups: Mapping[str, Floats], thresholds: Sequence[Threshold], axis: str, alt: str, log: bool = False
) -> str:
    """Stacked counts of ``groups`` (colour name → values) with thresholds. ``log`` is for shares 1e-4 ... 1."""
    values = {name: np.asarray(group, np.float64) for name, group in groups.items()}
    limits = np.concatenate([*values.values(), [threshold.value for threshold in thresholds]])
    edges = np.geomspace(1e-4, 1, _BINS + 1) if log else np.linspace(*_padded(limits), _BINS + 1)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        base = np.zeros(_BINS)
        for name, group in values.items():
            top = base + np.histogram(group.clip(edges[0], edges[-1]), edges)[0]
            axes.stairs(top, edges, baseline=base, fill=True, color=_VARIABLES[name])
            base = top
        axes.set_xlabel(axis)
        axes.set_ylabel("samples")
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, max(1.0, float(base.max())) * (1.12 + 0.13 * len(thresholds)))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        if log:
            axes.set_xscale("log")
            axes.set_xticks([1e-4, 1e-3, 1e-2, 1e-1, 1], ["≤0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
            axes.minorticks_off()
        for number, threshold in enumerate(thresholds):
            _mark(axes, threshold, 1.0 - 0.11 * number)

    return _svg(draw, alt, _WIDE)


def curves(
    lines: Mapping[str, tuple[Floats, Floats]], axes_names: tuple[str, str], alt: str, steps: bool, level: float | None
) -> str:
    """Curves on the unit square (colour name → x, y); ``level`` is the dotted line of a detector that guesses."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        guess = ([0, 1], [0, 1]) if level is None else ([0, 1], [level, level])
        axes.plot(*guess, color=_VARIABLES["muted"], linestyle=":", linewidth=1)
        for name, (x, y) in lines.items():
            first = np.concatenate([[0.0], x]), np.concatenate([y[:1], y])  # a PR curve starts at recall 0
            drawn = first if steps else (x, y)
            style = "steps-pre" if steps else "default"
            axes.plot(*drawn, color=_VARIABLES[name], drawstyle=style, linewidth=1.8 if name == "stage2" else 1.3)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(-0.01, 1.03)

    return _svg(draw, alt, _NARROW)


def _padded(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    pad = max((high - low) * 0.04, 1e-3)
    return low - pad, high + pad


def _mark(axes: Any, threshold: Threshold, height: float) -> None:
    """The line of a threshold, with its text on the side that has room."""
    axes.axvline(threshold.value, color=_VARIABLES["ink"], linewidth=1, linestyle=(0, (4, 2)))
    across = axes.transAxes.inverted().transform(axes.transData.transform((threshold.value, 0)))[0]
    axes.annotate(
        threshold.text,
        (threshold.value, height),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if across > 0.55 else 3, -1),
        textcoords="offset points",
        ha="right" if across > 0.55 else "left",
        va="top",
    )


def _svg(draw: Callable[[Figure], None], alt: str, size: tuple[float, float]) -> str:
    with mpl.rc_context({**_STYLE, "svg.hashsalt": alt}):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0)
        draw(figure)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        sink = io.StringIO()
        FigureCanvasSVG(figure).print_svg(sink, metadata={"Date": None, "Creator": None})
    return _for_the_page(sink.getvalue(), alt)


def _for_the_page(text: str, alt: str) -> str:
    """Matplotlib's SVG without prologue, metadata, fixed size, fonts and ids that would repeat on one page."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r" font-family: [^;\"]*;?", "", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for name, colour in _VARIABLES.items():
        text = text.replace(colour, f"var(--{name})")
    view = re.search(r'viewBox="[^"]*"', text)
    body = text[text.index(">") + 1 :]
    return f'<svg class="chart" role="img" aria-label="{escape(alt)}" {view.group(0) if view else ""}>{body.strip()}\n'
