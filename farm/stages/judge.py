"""Candidates → verdicts, in two steps. The set that is kept is a function of candidates and settings alone.

``Judge`` decides every row by itself, shard by shard, in any order. ``settle`` then decides what concerns all rows at
once, in row order: near-duplicates, and the quota of each (category, defect). No torch here (decision 8).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from farm.config import FilterConfig
from farm.errors import RowError
from farm.filters import NEAR_DUPLICATE, OVER_QUOTA, RowFacts, first_objection
from farm.index import NormalIndex, near_duplicates
from farm.rows import FACTS, MADE, PLANNED, VERDICT, Array, Batch, Column, check

JUDGED = (*PLANNED, *FACTS, Column("embedding", "float32", ("D",), "unit vector of the image; zeros if failed"))
Vectors = npt.NDArray[np.float32]


class Judge:
    """Holds the index of one category's normals and its calibration; build once, then judge many shards.

    ``normal_vectors`` is (N, D) float32 of length 1. Raises ``DataError`` with too few normals for ``neighbours``.
    """

    takes = JUDGED
    gives = VERDICT

    def __init__(
        self, settings: FilterConfig, normal_ids: Sequence[str], normal_vectors: Vectors, threads: int = 1
    ) -> None:
        self.settings = settings
        self.index = NormalIndex(normal_ids, normal_vectors, threads)
        self.calibration = self.index.calibrate(
            settings.neighbours, settings.low_quantile, settings.low_margin, settings.high_quantile
        )

    def judge(self, columns: Mapping[str, Array]) -> Batch:
        """``rows.VERDICT`` of each row of ``takes``, by what can be said of that row alone.

        A row that is not made keeps its error as reason, score 0 and no nearest normal.
        """
        check(columns, self.takes, "judge input")
        made = columns["status"] == MADE
        scores, nearest = self._scores(columns, made)
        reasons = [
            self._reason(columns, row, float(scores[row])) if made[row] else str(columns["error"][row])
            for row in range(len(made))
        ]
        keep = np.array([bool(ok) and not reason for ok, reason in zip(made, reasons, strict=True)], bool)
        verdicts = {
            "row": columns["row"],
            "sample_id": columns["sample_id"],
            "keep": keep,
            "verdict": _strings(np.where(keep, "kept", np.where(made, "refused", columns["status"]))),
            "reason": _strings(reasons),
            "score": scores,
            "nearest": nearest,
            "neighbour": np.full(len(made), -1, np.int64),
        }
        check(verdicts, self.gives, "judge output")
        return verdicts

    def _scores(self, columns: Mapping[str, Array], made: Array) -> tuple[Vectors, Array]:
        vectors: Vectors = columns["embedding"].astype(np.float32, copy=False)
        dim = self.index.vectors.shape[1]
        if vectors.shape[1] != dim:
            raise RowError(
                f"judge input: column 'embedding' has D={vectors.shape[1]} but the normals have D={dim}; "
                "embed both with the same model"
            )
        scores, nearest = np.zeros(len(made), np.float32), _strings([""] * len(made))
        if made.any():
            scores[made], nearest[made] = self.index.scores(vectors[made], self.settings.neighbours)
        return scores, nearest

    def _reason(self, columns: Mapping[str, Array], row: int, score: float) -> str:
        facts = RowFacts(
            kind=str(columns["kind"][row]),
            objection=str(columns["objection"][row]),
            mean_change=float(columns["mean_change"][row]),
            changed_area=float(columns["changed_area"][row]),
            ssim_outside=float(columns["ssim_outside"][row]),
            score=score,
        )
        return first_objection(facts, self.settings, self.calibration)


def settle(
    settings: FilterConfig,
    verdicts: Mapping[str, Array],
    embeddings: Vectors,
    category: Array,
    defect: Array,
    threads: int = 1,
) -> Batch:
    """The final ``rows.VERDICT`` of a whole run, in rising row order.

    ``verdicts`` are those of ``Judge`` for N rows in any order, ``category`` and ``defect`` their (N,) names, and
    ``embeddings`` the (K, D) unit vectors of the K rows it keeps, in the same order. Of two kept images of one
    category that are too alike the one with the smaller row number stays. Of a (category, defect) over its quota the
    best scores stay, ties by row number.
    """
    check(verdicts, VERDICT, "settle input")
    _check_sizes(verdicts, embeddings, category, defect)
    order = np.argsort(verdicts["row"], kind="stable")
    place = np.cumsum(verdicts["keep"]) - 1  # position of a kept row in ``embeddings``
    final = {name: np.asarray(verdicts[name])[order].copy() for name in verdicts}
    vectors = embeddings[place[order][final["keep"]]]
    category, defect = np.asarray(category)[order], np.asarray(defect)[order]
    _refuse_duplicates(final, vectors, category, settings, threads)
    if settings.quota is not None:
        _refuse_over_quota(final, category, defect, settings.quota)
    check(final, VERDICT, "settle output")
    return final


def _refuse_duplicates(final: Batch, vectors: Vectors, category: Array, settings: FilterConfig, threads: int) -> None:
    kept = np.flatnonzero(final["keep"])
    for name in sorted(set(category[kept].tolist())):
        mine = category[kept] == name
        rows = final["row"][kept[mine]].astype(np.int64)
        found = near_duplicates(vectors[mine], rows, settings.near_duplicate, threads)
        for position in kept[mine]:
            row = int(final["row"][position])
            if row in found:
                _refuse(final, position, NEAR_DUPLICATE)
                final["neighbour"][position] = found[row]


def _refuse_over_quota(final: Batch, category: Array, defect: Array, quota: int) -> None:
    kept = np.flatnonzero(final["keep"])
    falling = -final["score"][kept].astype(np.float32)
    best_first = kept[np.lexsort((final["row"][kept], falling))]
    counts: dict[tuple[str, str], int] = {}
    for position in best_first:
        group = (str(category[position]), str(defect[position]))
        counts[group] = counts.get(group, 0) + 1
        if counts[group] > quota:
            _refuse(final, position, OVER_QUOTA)


def _refuse(final: Batch, position: int, reason: str) -> None:
    final["keep"][position] = False
    final["verdict"][position] = "refused"
    final["reason"][position] = reason


def _check_sizes(verdicts: Mapping[str, Array], embeddings: Vectors, category: Array, defect: Array) -> None:
    n, kept = len(verdicts["row"]), int(np.sum(verdicts["keep"]))
    if len(category) != n or len(defect) != n or embeddings.ndim != 2 or len(embeddings) != kept:
        raise RowError(
            f"settle input: {n} verdicts of which {kept} are kept need {n} categories, {n} defects and ({kept}, D) "
            f"embeddings; found {len(category)}, {len(defect)} and {embeddings.shape}"
        )
    if len(np.unique(verdicts["row"])) != n:
        raise RowError(f"settle input: {n - len(np.unique(verdicts['row']))} rows stand twice; give each row once")


def _strings(values: Sequence[str] | Array) -> Array:
    column = np.empty(len(values), dtype=object)
    column[:] = [str(value) for value in values]
    return column
