"""Pixels of sources and target masks for planned rows, read in the worker; a row that cannot be read says why."""

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from farm.config import MethodConfig, Run
from farm.datasets import read_mask, read_photo
from farm.datasets.photo import PhotoSet, defect_name
from farm.errors import DataError
from farm.images import encode_png
from farm.masks import foreground, target_mask
from farm.methods.base import Pixels

CACHED_PHOTOS = 256
CACHED_PNG_BYTES = 64 * 2**20


class Sources:
    """Reads photographs by id, and draws the target mask of a row. Each worker has its own small cache."""

    def __init__(self, run: Run, photos: PhotoSet) -> None:
        self.run = run
        self._photos = {photo.photo_id: photo for photo in photos.train}
        self._shots = [shot for shot in photos.shots if shot.mask_path]
        self._shot_masks: dict[str, Pixels] = {}
        self._cache: OrderedDict[str, tuple[Pixels, npt.NDArray[np.bool_]]] = OrderedDict()
        self._pngs: OrderedDict[str, bytes] = OrderedDict()
        self._png_bytes = 0
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

    def png(self, photo_id: str) -> bytes:
        """``source`` of the photograph as PNG, which is the same for all of its rows."""
        if photo_id in self._pngs:
            self._pngs.move_to_end(photo_id)
            return self._pngs[photo_id]
        png = encode_png(self.source(photo_id)[0])
        self._pngs[photo_id] = png
        self._png_bytes += len(png)
        while self._png_bytes > CACHED_PNG_BYTES:
            self._png_bytes -= len(self._pngs.popitem(last=False)[1])
        return png

    def mask(self, row: dict[str, Any], where: npt.NDArray[np.bool_]) -> Pixels:
        """The target mask (S, S) of a planned row, inside the foreground ``where``.

        A real one is that of a shot of the row's defect; of any, where the row is a rule's or its defect has no shot.
        Raises ``DataError`` where one of those cannot be read: without it the row would get another mask than planned.
        """
        settings = self._methods[row["method"]].masks
        shots = self._masks(row["defect"]) if row["mask_kind"] == "real" else []
        return target_mask(row["mask_kind"], row["seed"], self.run.size_px, settings, where, shots)

    def _masks(self, defect: str) -> list[Pixels]:
        """The masks of the shots of ``defect``; of all shots, where it has none."""
        if not self._shots:
            raise DataError(
                f"{self.run.data.category}: no few-shot photograph has a mask; remove 'real' from masks.kinds"
            )
        mine = [shot for shot in self._shots if defect_name(shot.defect or "") == defect]
        for shot in mine or self._shots:
            if shot.photo_id not in self._shot_masks:
                read = read_mask(shot, self.run.size_px, self.run.data.max_megapixels)
                self._shot_masks[shot.photo_id] = read
        return [self._shot_masks[shot.photo_id] for shot in mine or self._shots]
