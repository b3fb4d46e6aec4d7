"""Pixels of sources and target masks for planned rows, read in the worker; a row that cannot be read says why."""

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from farm.config import MethodConfig, Run
from farm.datasets import read_mask, read_photo
from farm.datasets.photo import PhotoSet, defect_name
from farm.errors import DataError
from farm.masks import foreground, target_mask
from farm.methods.base import Pixels

CACHED_PHOTOS = 256


class Sources:
    """Reads photographs by id, and draws the target mask of a row. Each worker has its own small cache."""

    def __init__(self, run: Run, photos: PhotoSet) -> None:
        self.run = run
        self._photos = {photo.photo_id: photo for photo in photos.train}
        self._shots = [shot for shot in photos.shots if shot.mask_path]
        self._shot_masks: list[tuple[str, Pixels]] | None = None
        self._cache: OrderedDict[str, tuple[Pixels, npt.NDArray[np.bool_]]] = OrderedDict()
        self._methods: dict[str, MethodConfig] = dict(zip(run.arm_names(), run.methods, strict=True))

    def source(self, photo_id: str) -> tuple[Pixels, npt.NDArray[np.bool_]]:
        """The photograph (S, S, 3) and its foreground (S, S). Raises ``DataError`` where it cannot be read."""
        if photo_id in self._cache:
            self._cache.move_to_end(photo_id)
            return self._cache[photo_id]
        pixels = read_photo(self._photos[photo_id], self.run.size_px, self.run.data.max_megapixels)
        self._cache[photo_id] = (pixels, foreground(pixels))
        if len(self._cache) > CACHED_PHOTOS:
            self._cache.popitem(last=False)
        return self._cache[photo_id]

    def mask(self, row: dict[str, Any], where: npt.NDArray[np.bool_]) -> Pixels:
        """The target mask (S, S) of a planned row, inside the foreground ``where``.

        A real one is that of a shot of the row's defect; of any, where the row is a rule's or its defect has no shot.
        """
        settings = self._methods[row["method"]].masks
        shots: list[Pixels] = []
        if row["mask_kind"] == "real":
            known = self._masks()
            shots = [mask for name, mask in known if name == row["defect"]] or [mask for _, mask in known]
        return target_mask(row["mask_kind"], row["seed"], self.run.size_px, settings, where, shots)

    def _masks(self) -> list[tuple[str, Pixels]]:
        """Defect and mask of every shot that has one."""
        if self._shot_masks is None:
            read = [(shot, read_mask(shot, self.run.size_px)) for shot in self._shots]
            self._shot_masks = [(defect_name(shot.defect or ""), mask) for shot, mask in read if mask.any()]
            if not self._shot_masks:
                raise DataError(
                    f"{self.run.data.category}: no few-shot mask can be read; remove 'real' from masks.kinds"
                )
        return self._shot_masks
