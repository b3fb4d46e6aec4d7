"""What was tried, kept, refused and why, and what it cost: one row for each (method, recipe, category, defect).

The ledger is derived from candidates, verdicts and the seconds beside the parts, and can be built again at any time.
It must add up: attempts = kept + refused + failed + poisoned in every row, and device seconds sum to what was measured.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from farm.config import PricesConfig
from farm.errors import RunError
from farm.rows import VERDICTS, Array

GROUP = ("method", "recipe", "category", "defect")
HOUR_S = 3600.0
FREE = PricesConfig()
PICTURES = ("source_png", "mask_png", "image_png", "label_png")


@dataclass(frozen=True)
class LedgerRow:
    """One line of the ledger. Costs per kept image are None where nothing was kept."""

    method: str
    recipe: str
    category: str
    defect: str
    attempts: int
    kept: int
    refused: int
    failed: int
    poisoned: int
    reasons: dict[str, int]  # of the refused, by reason, most frequent first
    evaluations: int
    device_s: float  # of generation
    embed_s: float
    bytes: int
    money: float  # of both, by the price table
    evaluations_per_kept: float | None
    device_s_per_kept: float | None  # generation and embedding, of kept and refused
    device_s_per_kept_low: float | None  # 95 % interval of it: that of the share that is kept
    device_s_per_kept_high: float | None
    bytes_per_kept: float | None
    money_per_kept: float | None


def stored_bytes(columns: Mapping[str, Array]) -> npt.NDArray[np.int64]:
    """Bytes of the pictures of each row of ``rows.ENCODED``, (B,): the ``bytes`` column of ``build_ledger``."""
    return np.array(
        [sum(map(len, pictures)) for pictures in zip(*(columns[name] for name in PICTURES), strict=True)], np.int64
    )


@dataclass(frozen=True)
class Spent:
    """Seconds by method: of generation, and of embedding."""

    device_s: Mapping[str, float]
    embed_s: Mapping[str, float] = field(default_factory=dict)


def build_ledger(
    candidates: Mapping[str, Array], verdicts: Mapping[str, Array], spent: Spent, prices: PricesConfig = FREE
) -> list[LedgerRow]:
    """The ledger of a run, sorted by (method, recipe, category, defect).

    ``candidates`` has N rows with row, method, recipe, category, defect, evaluations and bytes; ``verdicts`` the same
    N row numbers in any order with keep, verdict and reason. A method's seconds are shared out evenly over its
    attempts, failed ones included. Raises ``RunError`` if anything does not add up.
    """
    of = _matched(candidates["row"], verdicts["row"])
    methods, attempts = np.unique(candidates["method"].astype(str), return_counts=True)
    _check_methods(set(methods.tolist()), set(spent.device_s))
    each_s = {
        name: (spent.device_s[name] / count, spent.embed_s.get(name, 0.0) / count)
        for name, count in zip(methods.tolist(), attempts.tolist(), strict=True)
    }
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, group in enumerate(zip(*(candidates[name] for name in GROUP), strict=True)):
        groups.setdefault(tuple(str(name) for name in group), []).append(position)
    return [
        _line(group, np.array(groups[group]), candidates, verdicts, of, each_s[group[0]], prices)
        for group in sorted(groups)
    ]


def _line(
    group: tuple[str, ...],
    mine: npt.NDArray[np.int64],
    candidates: Mapping[str, Array],
    verdicts: Mapping[str, Array],
    of: npt.NDArray[np.int64],
    each_s: tuple[float, float],
    prices: PricesConfig,
) -> LedgerRow:
    method, recipe, category, defect = group
    verdict = verdicts["verdict"][of[mine]].astype(str)
    reasons = Counter(verdicts["reason"][of[mine]][verdict == "refused"].astype(str).tolist())
    counts = {name: int((verdict == name).sum()) for name in VERDICTS}
    kept = int(verdicts["keep"][of[mine]].sum())
    if sum(counts.values()) != len(mine) or kept != counts["kept"]:
        raise RunError(
            f"ledger: {'/'.join(group)} has {len(mine)} attempts but {kept} to keep and verdicts {counts}; every row "
            f"is one of {', '.join(VERDICTS)}. The verdict files are damaged: judge the run again"
        )
    evaluations, size = int(candidates["evaluations"][mine].sum()), int(candidates["bytes"][mine].sum())
    device_s, embed_s = (seconds * len(mine) for seconds in each_s)
    paid = money(device_s, embed_s, prices)
    low, high = acceptance_interval(kept, len(mine))
    return LedgerRow(
        method=method,
        recipe=recipe,
        category=category,
        defect=defect,
        attempts=len(mine),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        evaluations=evaluations,
        device_s=device_s,
        embed_s=embed_s,
        bytes=size,
        money=paid,
        evaluations_per_kept=evaluations / kept if kept else None,
        device_s_per_kept=(device_s + embed_s) / kept if kept else None,
        device_s_per_kept_low=sum(each_s) / high if kept else None,
        device_s_per_kept_high=sum(each_s) / low if kept else None,
        bytes_per_kept=size / kept if kept else None,
        money_per_kept=paid / kept if kept else None,
        **counts,
    )


def money(device_s: float, embed_s: float, prices: PricesConfig) -> float:
    """What so many seconds of generating and embedding workers cost, in the price table's currency."""
    return (device_s * prices.device_hour + embed_s * prices.embed_hour) / HOUR_S


def acceptance_interval(kept: int, attempts: int, sigmas: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of the share that is kept (Wilson 1927): inside [0, 1] and honest for few attempts."""
    if attempts == 0:
        return 0.0, 1.0
    share, weight = kept / attempts, sigmas**2 / attempts
    middle = (share + weight / 2) / (1 + weight)
    half = sigmas * math.sqrt(share * (1 - share) / attempts + weight / (4 * attempts)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def _matched(rows: Array, judged: Array) -> npt.NDArray[np.int64]:
    """For each candidate the position of its verdict, (N,)."""
    order = np.argsort(judged, kind="stable")
    there = {int(row) for row in judged}
    missing = sorted({int(row) for row in rows} ^ there)
    if missing or len(rows) != len(judged) or len(there) != len(judged):
        example = f"row {missing[0]} is in one of them only" if missing else "a row stands twice"
        raise RunError(
            f"ledger: {len(rows)} candidates and {len(judged)} verdicts do not pair up: {example}. Judge the run again"
        )
    return order[np.searchsorted(judged[order], rows)]


def _check_methods(made: set[str], timed: set[str]) -> None:
    if made != timed:
        raise RunError(
            f"ledger: candidates come from {sorted(made)} but seconds are given for {sorted(timed)}; "
            "give the seconds of each method that has rows, and of no other"
        )
