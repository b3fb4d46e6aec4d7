"""What was tried, kept, refused and why, and what it cost: one row for each (method, recipe, category, defect).

The ledger is derived from candidates, verdicts and the seconds beside the parts, and can be built again at any time.
It must add up: attempts = kept + refused + failed + poisoned in every row, and device seconds sum to what was measured.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.errors import RunError
from farm.rows import VERDICTS, Array

GROUP = ("method", "recipe", "category", "defect")
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
    device_s: float
    bytes: int
    evaluations_per_kept: float | None
    device_s_per_kept: float | None
    bytes_per_kept: float | None


def stored_bytes(columns: Mapping[str, Array]) -> npt.NDArray[np.int64]:
    """Bytes of the pictures of each row of ``rows.ENCODED``, (B,): the ``bytes`` column of ``build_ledger``."""
    return np.array(
        [sum(map(len, pictures)) for pictures in zip(*(columns[name] for name in PICTURES), strict=True)], np.int64
    )


def build_ledger(
    candidates: Mapping[str, Array], verdicts: Mapping[str, Array], device_s: Mapping[str, float]
) -> list[LedgerRow]:
    """The ledger of a run, sorted by (method, recipe, category, defect).

    ``candidates`` has N rows with row, method, recipe, category, defect, evaluations and bytes; ``verdicts`` the same
    N row numbers in any order with keep, verdict and reason. ``device_s`` is seconds by method; a method's seconds are
    shared out evenly over its attempts, failed ones included. Raises ``RunError`` if anything does not add up.
    """
    of = _matched(candidates["row"], verdicts["row"])
    methods, attempts = np.unique(candidates["method"].astype(str), return_counts=True)
    _check_methods(set(methods.tolist()), set(device_s))
    each_s = {name: device_s[name] / count for name, count in zip(methods.tolist(), attempts.tolist(), strict=True)}
    groups: dict[tuple[str, ...], list[int]] = {}
    for position, group in enumerate(zip(*(candidates[name] for name in GROUP), strict=True)):
        groups.setdefault(tuple(str(name) for name in group), []).append(position)
    return [
        _line(group, np.array(groups[group]), candidates, verdicts, of, each_s[group[0]]) for group in sorted(groups)
    ]


def _line(
    group: tuple[str, ...],
    mine: npt.NDArray[np.int64],
    candidates: Mapping[str, Array],
    verdicts: Mapping[str, Array],
    of: npt.NDArray[np.int64],
    each_s: float,
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
    seconds = each_s * len(mine)
    return LedgerRow(
        method=method,
        recipe=recipe,
        category=category,
        defect=defect,
        attempts=len(mine),
        reasons=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        evaluations=evaluations,
        device_s=seconds,
        bytes=size,
        evaluations_per_kept=evaluations / kept if kept else None,
        device_s_per_kept=seconds / kept if kept else None,
        bytes_per_kept=size / kept if kept else None,
        **counts,
    )


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
