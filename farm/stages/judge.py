"""Candidates → tentative verdicts: every row by itself, shard by shard, in any order.

What concerns all rows at once is decided by ``farm.stages.settle``. So the set that is kept is a function of candidates
and settings alone. No torch here (decision 8).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from farm.config import FilterConfig
from farm.copies import COPIED_NORMAL, LEAKED, MEMORISED, audit, originals
from farm.crop_index import CropIndex, PhotoCrops
from farm.errors import RowError
from farm.filters import RowFacts, first_objection
from farm.index import NormalIndex
from farm.rows import JUDGED, MADE, VERDICT, Array, Batch, check

Vectors = npt.NDArray[np.float32]
Photos = tuple[Sequence[str], Vectors]
LEAST_DEFECTS = 5  # fewer real defects do not show how much they differ
NO_PHOTOS: Photos = ((), np.zeros((0, 0), np.float32))


class Judge:
    """Holds the index of one category's normals and its calibration; build once, then judge many shards.

    ``normals``, ``shots`` and ``test`` are the ids and (N, D) float32 unit vectors of the photographs of each split,
    ``crops`` the vectors of windows of them, where rows have crops too, and ``grains`` what ``farm.facts.grain`` finds
    in real defects. Raises ``DataError`` with too few normals for ``neighbours``.
    """

    takes = JUDGED
    gives = VERDICT

    def __init__(
        self,
        settings: FilterConfig,
        normals: Photos,
        shots: Photos = NO_PHOTOS,
        test: Photos = NO_PHOTOS,
        crops: PhotoCrops | None = None,
        grains: Sequence[float] = (),
        threads: int = 1,
    ) -> None:
        self.settings = settings
        self.index = NormalIndex(*normals, threads)
        self.copies = originals(settings.copy_of_photo, self.index, shots, test)
        self.crops = CropIndex(crops, settings.neighbours, threads) if crops else None
        whole = self.index.calibrate(
            settings.neighbours, settings.low_quantile, settings.low_margin, settings.high_quantile
        )
        self.calibration = replace(whole, **local_thresholds(settings, self.crops, grains))

    def facts(self) -> dict[str, Any]:
        """What the verdicts rest on, for ``calibration.json``: thresholds, scores of the normals, and the audit.

        ``copies`` has the bar of each reason; ``alike`` lists learning photographs that are too alike a test one.
        """
        copies = {name: {"floor": found.floor, "highest": found.highest} for name, found in self.copies.items()}
        alike: list[tuple[str, str, float]] = []
        if LEAKED in self.copies:
            held = [self.copies[name].index for name in (COPIED_NORMAL, MEMORISED) if name in self.copies]
            test, floor = self.copies[LEAKED].index, self.settings.copy_of_photo
            alike = [pair for one in held for pair in audit(one, test, floor)]
        return {**asdict(self.calibration), "copies": copies, "alike": alike}

    def judge(self, columns: Mapping[str, Array]) -> Batch:
        """``rows.VERDICT`` of each row of ``takes``, by what can be said of that row alone.

        A row that is not made keeps its error as reason, score 0 and no nearest normal.
        """
        check(columns, self.takes, "judge input")
        made = columns["status"] == MADE
        scores, nearest = self._scores(columns, made)
        crop_scores, grid_scores = self._crop_scores(columns, made)
        copied, twins = self._copied(columns, made)
        reasons = [
            copied[row] or self._reason(columns, row, scores, crop_scores, grid_scores)
            if made[row]
            else str(columns["error"][row])
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
            "crop_score": crop_scores,
            "grid_score": grid_scores,
            "nearest": nearest,
            "neighbour": np.full(len(made), -1, np.int64),
            "twin": _strings(twins),
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

    def _crop_scores(self, columns: Mapping[str, Array], made: Array) -> tuple[Vectors, Vectors]:
        defect, grid = np.full((2, len(made)), np.nan, np.float32)
        if self.crops is not None and made.any():
            defect[made], grid[made] = self.crops.score(columns["crops"][made].astype(np.float32, copy=False))
        return defect, grid

    def _copied(self, columns: Mapping[str, Array], made: Array) -> tuple[list[str], list[str]]:
        """For each row the reason of a copy and the photograph that it copies, empty where it is none."""
        reasons, twins = [""] * len(made), [""] * len(made)
        for reason, photographs in self.copies.items():
            asked = np.flatnonzero(made & (columns["kind"] == "normal") if reason == COPIED_NORMAL else made)
            if len(asked) == 0:
                continue
            found, ids = photographs.found(columns["embedding"][asked].astype(np.float32, copy=False))
            for number in np.flatnonzero(found):
                row = asked[number]
                reasons[row], twins[row] = reasons[row] or reason, twins[row] or ids[number]
        return reasons, twins

    def _reason(self, columns: Mapping[str, Array], row: int, *scores: Vectors) -> str:
        score, crop_score, grid_score = (float(column[row]) for column in scores)
        facts = RowFacts(
            kind=str(columns["kind"][row]),
            objection=str(columns["objection"][row]),
            mean_change=float(columns["mean_change"][row]),
            changed_area=float(columns["changed_area"][row]),
            ssim_outside=float(columns["ssim_outside"][row]),
            grain=float(columns["grain"][row]),
            score=score,
            crop_score=crop_score,
            grid_score=grid_score,
            text_margin=float(columns["text_margin"][row]),
        )
        return first_objection(facts, self.settings, self.calibration)


def local_thresholds(settings: FilterConfig, crops: CropIndex | None, grains: Sequence[float]) -> dict[str, Any]:
    """The fields of ``Calibration`` that are about parts of images, from real defects and from grids of normals."""
    found: dict[str, Any] = {}
    if len(grains) >= LEAST_DEFECTS:
        limit = settings.max_grain * float(np.quantile(grains, settings.high_quantile))
        found |= {"max_grain": limit, "grains": tuple(map(float, grains))}
    if crops is None:
        return found
    defects, grids = crops.known_defects(), crops.known_grids()
    if len(defects) >= LEAST_DEFECTS:
        low = float(np.quantile(defects, settings.low_quantile)) - settings.crop_margin
        found |= {"crop_low": low, "crop_scores": tuple(defects.tolist())}
    if len(grids):
        low = float(np.quantile(grids, settings.low_quantile)) - settings.low_margin
        found |= {"grid_low": low, "grid_scores": tuple(grids.tolist())}
    return found


def _strings(values: Sequence[str] | Array) -> Array:
    column = np.empty(len(values), dtype=object)
    column[:] = [str(value) for value in values]
    return column
