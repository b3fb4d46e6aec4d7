"""Unit vectors of the photographs: made once for a run and an embedder, in blocks, and read whole by the judge.

Normals calibrate the filter. Few-shot and test photographs are there so that a copy of one is found and refused; a test
photograph is never learned from (decision 10).
"""

import numpy as np
import numpy.typing as npt

from farm.config import Run
from farm.datasets import read_photo
from farm.datasets.photo import Photo, PhotoSet
from farm.embedders import Embedder
from farm.errors import FarmError
from farm.parts import to_batch, to_table
from farm.rows import Column
from farm.run_folder import RunFolder

BLOCK_PHOTOS = 64
SPLITS = ("train", "shots", "test")  # as in ``PhotoSet.splits``
COLUMNS = (
    Column("photo_id", "str", (), "id of the photograph"),
    Column("split", "str", (), "train, shots or test"),
    Column("error", "str", (), "why it could not be embedded, else empty"),
    Column("embedding", "float32", ("D",), "unit vector; zeros where it could not be embedded"),
)
Vectors = npt.NDArray[np.float32]


class PhotoVectors:
    """The blocks of the photographs' vectors below ``sources/vectors-<embedder>/``."""

    def __init__(self, folder: RunFolder, photos: PhotoSet) -> None:
        self.folder = folder
        self._photos = [(split, photo) for split, members in photos.splits().items() for photo in members]
        self._place = f"sources/vectors-{folder.fingerprints()['embedder']}"

    def __len__(self) -> int:
        return -(-len(self._photos) // BLOCK_PHOTOS)

    def missing(self) -> list[int]:
        """The blocks that are not written, by one listing."""
        there = set(self.folder.store.names(self._place))
        return [block for block in range(len(self)) if self._name(block) not in there]

    def embed(self, block: int, run: Run, embedder: Embedder) -> dict[str, int]:
        """Embed and commit ``block``; a photograph that cannot be read is a line with its error."""
        members = self._photos[block * BLOCK_PHOTOS : (block + 1) * BLOCK_PHOTOS]
        vectors = np.zeros((len(members), embedder.dim), dtype=np.float32)
        errors = [""] * len(members)
        for start in range(0, len(members), run.compute.batch_size):
            pixels, places = [], []
            for index in range(start, min(start + run.compute.batch_size, len(members))):
                try:
                    pixels.append(_read(members[index][1], run))
                    places.append(index)
                except (FarmError, OSError) as error:
                    errors[index] = str(error)
            if places:
                vectors[places] = embedder(np.stack(pixels))
        batch = {
            "photo_id": np.array([photo.photo_id for _, photo in members], dtype=object),
            "split": np.array([split for split, _ in members], dtype=object),
            "error": np.array(errors, dtype=object),
            "embedding": vectors,
        }
        self.folder.write_table(self._name(block), to_table(batch, COLUMNS))
        failed = sum(bool(error) for error in errors)
        return {"block": block, "made": len(members) - failed, "failed": failed}

    def read(self) -> dict[str, tuple[list[str], Vectors]]:
        """Split → ids and unit vectors (N, D) of its photographs that could be embedded, in photo order."""
        parts = [to_batch(self.folder.read_table(self._name(block))) for block in range(len(self))]
        columns = {column.name: np.concatenate([part[column.name] for part in parts]) for column in COLUMNS}
        good = columns["error"] == ""
        chosen = {split: good & (columns["split"] == split) for split in SPLITS}
        return {
            split: (columns["photo_id"][mine].tolist(), columns["embedding"][mine].astype(np.float32))
            for split, mine in chosen.items()
        }

    def _name(self, block: int) -> str:
        return f"{self._place}/block-{block:06d}.parquet"


def _read(photo: Photo, run: Run) -> npt.NDArray[np.uint8]:
    return read_photo(photo, run.size_px, run.data.max_megapixels)
