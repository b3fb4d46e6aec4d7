"""Unit vectors of the photographs: made once for a run and an embedder, in blocks, and read whole by the judge.

Normals calibrate the filter, few-shot photographs show how far a defect may be from them. Few-shot and test photographs
are there so that a copy of one is found and refused; a test photograph is never learned from (decision 10).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farm.config import Run
from farm.crop_index import PhotoCrops
from farm.crops import Window, cut, defect_window, grid_windows, reference_windows
from farm.datasets import read_mask, read_photo
from farm.datasets.photo import Photo, PhotoSet
from farm.embedders import Embedder
from farm.errors import FarmError
from farm.facts import grain
from farm.parts import to_batch, to_table
from farm.rows import Column
from farm.run_folder import RunFolder

BLOCK_PHOTOS = 64
CROP_NORMALS = 64  # normals that are cut into windows, evenly spaced; more would cost as much as a run
SPLITS = ("train", "shots", "test")  # as in ``PhotoSet.splits``
REFERENCES = len(reference_windows((64, 64)))
COLUMNS = (
    Column("photo_id", "str", (), "id of the photograph"),
    Column("split", "str", (), "train, shots or test"),
    Column("error", "str", (), "why it could not be embedded, else empty"),
    Column("embedding", "float32", ("D",), "unit vector; zeros where it could not be embedded"),
    Column("crops", "float32", ("E",), "unit vectors of its windows, one behind the other; zeros where it has fewer"),
    Column("grain", "float32", (), "grain of a few-shot photograph's defect; NaN for all others"),
)
Pixels = npt.NDArray[np.uint8]
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """What an embedder saw in the N photographs of one split: ``crops`` is (N, W, D), W = 0 where none are cut."""

    ids: list[str]
    vectors: Vectors
    crops: Vectors
    grain: Vectors


class PhotoVectors:
    """The blocks of the photographs' vectors below ``sources/vectors-<embedder>/``."""

    def __init__(self, folder: RunFolder, photos: PhotoSet) -> None:
        self.folder = folder
        self._photos = [(split, photo) for split, members in photos.splits().items() for photo in members]
        count = len(photos.train)
        self._cut = set(np.linspace(0, count - 1, min(count, CROP_NORMALS)).round().astype(int).tolist())
        self._place = f"sources/vectors-{folder.fingerprints()['embedder']}"

    def __len__(self) -> int:
        return -(-len(self._photos) // BLOCK_PHOTOS)

    def missing(self) -> list[int]:
        """The blocks that are not written, by one listing."""
        there = set(self.folder.store.names(self._place))
        return [block for block in range(len(self)) if self._name(block) not in there]

    def embed(self, block: int, run: Run, embedder: Embedder) -> dict[str, int]:
        """Embed and commit ``block``; a photograph that cannot be read is a line with its error."""
        places = list(range(block * BLOCK_PHOTOS, min((block + 1) * BLOCK_PHOTOS, len(self._photos))))
        members = [self._photos[place] for place in places]
        widest = {"none": 0, "defect": REFERENCES, "grid": REFERENCES + len(grid_windows((64, 64)))}[run.embed.crops]
        batch = {
            "photo_id": np.array([photo.photo_id for _, photo in members], dtype=object),
            "split": np.array([split for split, _ in members], dtype=object),
            "error": np.array([""] * len(members), dtype=object),
            "embedding": np.zeros((len(members), embedder.dim), np.float32),
            "crops": np.zeros((len(members), widest, embedder.dim), np.float32),
            "grain": np.full(len(members), np.nan, np.float32),
        }
        for start in range(0, len(members), run.compute.batch_size):
            numbers = range(start, min(start + run.compute.batch_size, len(members)))
            self._fill(batch, {number: places[number] for number in numbers}, run, embedder)
        batch["crops"] = batch["crops"].reshape(len(members), -1)
        self.folder.write_table(self._name(block), to_table(batch, COLUMNS))
        failed = int((batch["error"] != "").sum())
        return {"block": block, "made": len(members) - failed, "failed": failed}

    def _fill(
        self, batch: dict[str, npt.NDArray[np.generic]], places: dict[int, int], run: Run, embedder: Embedder
    ) -> None:
        """Set lines of ``batch``; ``places`` are their photographs' by line."""
        images: dict[int, Pixels] = {}
        crops: list[Pixels] = []
        cells: list[tuple[int, int]] = []
        for line, place in places.items():
            split, photo = self._photos[place]
            try:
                image = read_photo(photo, run.size_px, run.data.max_megapixels)
                marked = read_mask(photo, run.size_px, run.data.max_megapixels) if _shows(split, photo) else None
            except (FarmError, OSError) as error:
                batch["error"][line] = str(error)
                continue
            images[line] = image
            if marked is not None:
                batch["grain"][line] = grain(image, marked > 0)
            windows = self._windows(split, place, image, marked, run.embed.crops)
            crops.append(cut(image, windows))
            cells += [(line, number) for number in range(len(windows))]
        if images:
            batch["embedding"][list(images)] = embedder(np.stack(list(images.values())))
        if cells:
            batch["crops"][tuple(np.transpose(cells))] = embedder(np.concatenate(crops))

    def _windows(self, split: str, place: int, image: Pixels, marked: Pixels | None, crops: str) -> list[Window]:
        """The windows that are cut out of the photograph at ``place``."""
        if crops == "none":
            return []
        if marked is not None:
            return [defect_window(marked)]
        if split != "train" or place not in self._cut:
            return []
        return reference_windows(image.shape) + (grid_windows(image.shape) if crops == "grid" else [])

    def read(self) -> dict[str, Seen]:
        """By split what was seen in its photographs that could be embedded, in photo order."""
        parts = [to_batch(self.folder.read_table(self._name(block))) for block in range(len(self))]
        columns = {column.name: np.concatenate([part[column.name] for part in parts]) for column in COLUMNS}
        good = columns["error"] == ""
        found = {}
        for split in SPLITS:
            mine = good & (columns["split"] == split)
            vectors = columns["embedding"][mine].astype(np.float32)
            crops = columns["crops"][mine].astype(np.float32).reshape(len(vectors), -1, vectors.shape[1])
            found[split] = Seen(columns["photo_id"][mine].tolist(), vectors, crops, columns["grain"][mine])
        return found

    def _name(self, block: int) -> str:
        return f"{self._place}/block-{block:06d}.parquet"


def photo_crops(seen: dict[str, Seen]) -> PhotoCrops | None:
    """The vectors of windows of what was seen, without the photographs that have none; None where nothing was cut."""
    normals, shots = (seen[split].crops for split in ("train", "shots"))
    normals = normals[normals.any(axis=(1, 2))]
    if not normals.size:
        return None
    marked = shots[:, 0][shots[:, 0].any(axis=1)]
    return PhotoCrops(normals[:, :REFERENCES], normals[:, REFERENCES:], marked)


def grains(seen: dict[str, Seen]) -> list[float]:
    """The grain of each real defect that may be learned from."""
    found = seen["shots"].grain
    return [float(value) for value in found[np.isfinite(found)]]


def _shows(split: str, photo: Photo) -> bool:
    """Whether the photograph shows where its defect is, and may be learned from."""
    return split == "shots" and photo.mask_path is not None
