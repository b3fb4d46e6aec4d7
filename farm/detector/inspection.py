"""Photographs of any size and in any folder → scores.csv and heat maps. Needs no torch itself.

One line a photograph in ``scores.csv``: path, score, verdict (``good``, ``defective``, or empty without a threshold),
reason (why there is no score), and the names of two pictures beside it:

    <name>-<hash of the path>.overlay.png   the photograph, at most 1024 px, with the map on it
    <name>-<hash of the path>.map.png       the map as it is, 16 bits: 0 = 0, 65535 = 1

Only one batch of photographs is held at a time. ``scores.csv`` replaces an earlier one when all is done.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from farm.datasets.files import read_bytes
from farm.datasets.tree import CLUTTER, is_inside, natural, shown
from farm.errors import DataError, StoreError
from farm.heat import heat_colours
from farm.ids import digest
from farm.images import Pixels, decode_image, encode_png, resize_image

SCORES = "scores.csv"
OVERLAY_PX = 1024
COLUMNS = ("path", "score", "verdict", "reason", "overlay", "map")
GOOD, DEFECTIVE = "good", "defective"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Inspector:
    """Scores photographs with ``detect``: uint8 (B, S, S, 3) → maps (B, S, S) and scores (B,)."""

    detect: Callable[[Pixels], tuple[Floats, Floats]]
    size_px: int
    threshold: float | None = None
    batch_size: int = 8
    max_megapixels: float = 50.0

    def inspect(self, paths: Sequence[Path], out: Path) -> Counter[str]:
        """Write ``out``; how many photographs are ``good``, ``defective``, ``scored`` at all or ``refused``."""
        counts: Counter[str] = Counter()
        try:
            out.mkdir(parents=True, exist_ok=True)
            unfinished = out / f".{SCORES}.tmp"
            with unfinished.open("w", newline="", encoding="utf-8") as file:
                table = csv.DictWriter(file, COLUMNS)
                table.writeheader()
                for row in self._rows(paths, out):
                    table.writerow(row)
                    counts.update(filter(None, ("refused" if row["reason"] else "scored", row["verdict"])))
            unfinished.replace(out / SCORES)
        except OSError as error:
            raise StoreError(
                f"{error.filename or out}: cannot be written ({error.strerror}); give --out another folder"
            ) from error
        return counts

    def _rows(self, paths: Sequence[Path], out: Path) -> Iterator[dict[str, str]]:
        for start in range(0, len(paths), self.batch_size):
            batch = paths[start : start + self.batch_size]
            read = [self._read(path) for path in batch]
            whole = [one[0] for one in read if not isinstance(one, str)]
            found = iter(zip(*self.detect(np.stack(whole)), strict=True) if whole else ())
            for path, one in zip(batch, read, strict=True):
                row = dict.fromkeys(COLUMNS, "") | {"path": shown(path)}
                yield row | ({"reason": one} if isinstance(one, str) else self._write(path, one[1], *next(found), out))

    def _read(self, path: Path) -> tuple[Pixels, Pixels] | str:
        """The photograph squashed to a square, and small enough to be shown; or why it cannot be read."""
        try:
            image = decode_image(read_bytes(path, None, self.max_megapixels), shown(path), self.max_megapixels)
        except DataError as error:
            return " ".join(str(error).split())
        scale = min(1.0, OVERLAY_PX / max(image.shape[:2]))
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        return resize_image(image, self.size_px), cv2.resize(image, size, interpolation=cv2.INTER_AREA)

    def _write(self, path: Path, picture: Pixels, values: Floats, score: float, out: Path) -> dict[str, str]:
        if not (np.isfinite(score) and np.isfinite(values).all()):
            return {"reason": "the detector gave values that are not numbers; its weights are damaged"}
        name = picture_name(path)
        overlay, whole = f"{name}.overlay.png", f"{name}.map.png"
        (out / overlay).write_bytes(encode_png(laid_on(picture, values)))
        (out / whole).write_bytes(encode_png(np.round(values * 65535.0).astype(np.uint16)))
        verdict = "" if self.threshold is None else DEFECTIVE if score >= self.threshold else GOOD
        return {"score": f"{score:.6f}", "verdict": verdict, "overlay": overlay, "map": whole}


def find_images(places: Sequence[str], out: Path) -> list[Path]:
    """The files that ``places`` mean: files, folders with all that is in them, or patterns; each once, in order.

    What lies in ``out`` is left out of folders and patterns, so that no picture of an earlier inspection is inspected.
    Raises ``DataError`` for a pattern or a folder without a file.
    """
    found: dict[Path, None] = {}
    for place in places:
        named = Path(place)
        if named.is_dir():
            files = [path for path in _below(named) if not is_inside(path, out)]
        elif has_magic(place) and not named.exists():
            matches = [Path(match) for match in sorted(glob(place, recursive=True), key=natural)]
            files = [path for path in matches if not path.is_dir() and not is_inside(path, out)]
        else:
            files = [named]  # what is not there is told in its row
        if not files:
            raise DataError(f"{shown(place)}: no file is there; give photographs, folders or patterns")
        found |= dict.fromkeys(files)
    return list(found)


def picture_name(path: Path) -> str:
    """A file name for what is made of ``path``: always the same, another for another path, and no folder in it."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)[:40]
    return f"{stem}-{digest('inspected', str(path)).hex()[:16]}"


def laid_on(picture: Pixels, values: Floats) -> Pixels:
    """``picture`` (h, w, 3) with a map (S, S) in [0, 1] over it, as colours that are clear where the map is 0."""
    height, width = picture.shape[:2]
    colours = heat_colours(np.clip(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), 0.0, 1.0))
    alpha = colours[..., 3:]
    return np.round(picture * (1 - alpha) + 255.0 * colours[..., :3] * alpha).astype(np.uint8)


def _below(folder: Path) -> Iterator[Path]:
    """All files below ``folder`` in natural order, hidden ones and clutter left out; links to folders stay closed."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural)
        names = (name for name in files if not name.startswith(".") and name.lower() not in CLUTTER)
        yield from (Path(here) / name for name in sorted(names, key=natural))
