"""What concerns all rows at once: near-duplicates, the quota of each (category, defect), and a covering selection.

The final verdicts are a function of tentative verdicts, vectors and settings: not of the order of the rows, nor of how
the search for near-duplicates was shared out. No torch here (decision 8).
"""

from collections.abc import Callable, Mapping

import numpy as np

from farm.config import FilterConfig
from farm.dedup import Blocks, near_duplicates, ranks
from farm.dedup.cells import Ranks
from farm.errors import RowError
from farm.filters import NEAR_DUPLICATE, NOT_SELECTED, OVER_QUOTA
from farm.rows import VERDICT, Array, Batch, check
from farm.select import shares, spread

GROUPS = ("kind", "category", "defect", "method")  # columns that settling asks for beside the verdict
Find = Callable[[Ranks], Ranks]  # places of kept rows, best first → for each the number there of who refuses it, or -1


def settle(
    settings: FilterConfig,
    verdicts: Mapping[str, Array],
    groups: Mapping[str, Array],
    vectors: Blocks,
    find: Find | None = None,
) -> Batch:
    """The final ``rows.VERDICT`` of a whole run, in rising row order.

    ``verdicts`` are those of ``Judge`` for N rows in any order and ``groups`` their ``GROUPS``; ``vectors`` gives the
    unit vectors of the rows it keeps, numbered in rising row order. Of two kept images of one kind and category
    that are too alike the better score stays, ties by row number; of a (kind, category, defect) over its quota the best
    scores stay. Of what is left ``select`` images are chosen so that they cover it. ``find`` searches
    near-duplicates among rows of ``vectors``; by default it does so here.
    """
    check(verdicts, VERDICT, "settle input")
    _check_sizes(verdicts, groups, vectors)
    order = np.argsort(verdicts["row"], kind="stable")
    final = {name: np.asarray(verdicts[name])[order].copy() for name in verdicts}
    where = {name: np.asarray(groups[name])[order].astype(str) for name in GROUPS}
    place = np.cumsum(final["keep"]) - 1  # of a tentatively kept row in ``vectors``
    _refuse_duplicates(final, where, place, find or _here(settings, vectors))
    if settings.quota is not None:
        _refuse_over_quota(final, where, settings.quota)
    if settings.select is not None:
        _select(final, where, place, vectors, settings.select)
    check(final, VERDICT, "settle output")
    return final


def _here(settings: FilterConfig, vectors: Blocks) -> Find:
    return lambda places: near_duplicates(vectors.of(places), settings.near_duplicate)


def _refuse_duplicates(final: Batch, where: Mapping[str, Array], place: Array, find: Find) -> None:
    """A normal and a defect are never duplicates of each other, nor images of two categories."""
    kept = np.flatnonzero(final["keep"])
    names = list(zip(where["kind"][kept].tolist(), where["category"][kept].tolist(), strict=True))
    for kind, category in sorted(set(names)):
        mine = kept[(where["kind"][kept] == kind) & (where["category"][kept] == category)]
        best_first = mine[ranks(final["score"][mine], final["row"][mine])]
        refused_by = find(place[best_first])
        for number in np.flatnonzero(refused_by >= 0):
            _refuse(final, best_first[number], NEAR_DUPLICATE)
            final["neighbour"][best_first[number]] = final["row"][best_first[refused_by[number]]]


def _refuse_over_quota(final: Batch, where: Mapping[str, Array], quota: int) -> None:
    kept = np.flatnonzero(final["keep"])
    counts: dict[tuple[str, ...], int] = {}
    for position in kept[ranks(final["score"][kept], final["row"][kept])]:
        group = tuple(str(where[name][position]) for name in ("kind", "category", "defect"))
        counts[group] = counts.get(group, 0) + 1
        if counts[group] > quota:
            _refuse(final, position, OVER_QUOTA)


def _select(final: Batch, where: Mapping[str, Array], place: Array, vectors: Blocks, count: int) -> None:
    """``count`` of the kept defects, as evenly over (category, defect, method) as there are, each covering its own."""
    kept = np.flatnonzero(final["keep"] & (where["kind"] == "defect"))
    groups: dict[tuple[str, ...], list[int]] = {}
    for position in kept[ranks(final["score"][kept], final["row"][kept])]:
        groups.setdefault(tuple(str(where[name][position]) for name in GROUPS), []).append(int(position))
    names = sorted(groups)
    for name, share in zip(names, shares([len(groups[name]) for name in names], count), strict=True):
        best_first = np.asarray(groups[name])
        chosen = set(spread(vectors[place[best_first]], share).tolist())
        for number, position in enumerate(best_first):
            if number not in chosen:
                _refuse(final, position, NOT_SELECTED)


def _refuse(final: Batch, position: int, reason: str) -> None:
    final["keep"][position] = False
    final["verdict"][position] = "refused"
    final["reason"][position] = reason


def _check_sizes(verdicts: Mapping[str, Array], groups: Mapping[str, Array], vectors: Blocks) -> None:
    n, kept = len(verdicts["row"]), int(np.sum(verdicts["keep"]))
    sizes = [len(groups[name]) for name in GROUPS]
    if set(sizes) != {n} or len(vectors) != kept:
        raise RowError(
            f"settle input: {n} verdicts of which {kept} are kept need {n} of each of {', '.join(GROUPS)} and {kept} "
            f"vectors; found {sizes} and {len(vectors)}"
        )
    if len(np.unique(verdicts["row"])) != n:
        raise RowError(f"settle input: {n - len(np.unique(verdicts['row']))} rows stand twice; give each row once")
