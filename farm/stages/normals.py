"""Unit vectors of the normals: made once for a run and an embedder, in blocks, and read whole by the judge."""

import numpy as np
import numpy.typing as npt

from farm.config import Run
from farm.datasets import read_photo
from farm.datasets.photo import PhotoSet, TrainPhoto
from farm.embedders import Embedder
from farm.errors import FarmError
from farm.parts import to_batch, to_table
from farm.rows import Column
from farm.run_folder import RunFolder

BLOCK_PHOTOS = 64
COLUMNS = (
    Column("photo_id", "str", (), "id of the normal"),
    Column("error", "str", (), "why it could not be embedded, else empty"),
    Column("embedding", "float32", ("D",), "unit vector; zeros where it could not be embedded"),
)


class NormalVectors:
    """The blocks of normals' vectors below ``sources/embeddings-<embedder>/``."""

    def __init__(self, folder: RunFolder, photos: PhotoSet) -> None:
        self.folder, self.normals = folder, photos.train
        self._place = f"sources/embeddings-{folder.fingerprints()['embedder']}"

    def __len__(self) -> int:
        return -(-len(self.normals) // BLOCK_PHOTOS)

    def photos(self, block: int) -> tuple[TrainPhoto, ...]:
        """The normals of ``block``."""
        return self.normals[block * BLOCK_PHOTOS : (block + 1) * BLOCK_PHOTOS]

    def is_done(self, block: int) -> bool:
        """Whether the block is written."""
        return self.folder.store.exists(self._name(block))

    def embed(self, block: int, run: Run, embedder: Embedder) -> dict[str, int]:
        """Embed and commit ``block``; a normal that cannot be read is a line with its error."""
        photos = self.photos(block)
        vectors = np.zeros((len(photos), embedder.dim), dtype=np.float32)
        errors = [""] * len(photos)
        for start in range(0, len(photos), run.compute.batch_size):
            pixels, places = [], []
            for index in range(start, min(start + run.compute.batch_size, len(photos))):
                try:
                    pixels.append(read_photo(photos[index], run.size_px, run.data.max_megapixels))
                    places.append(index)
                except (FarmError, OSError) as error:
                    errors[index] = str(error)
            if places:
                vectors[places] = embedder(np.stack(pixels))
        names = np.array([photo.photo_id for photo in photos], dtype=object)
        batch = {"photo_id": names, "error": np.array(errors, dtype=object), "embedding": vectors}
        self.folder.write_table(self._name(block), to_table(batch, COLUMNS))
        failed = sum(bool(error) for error in errors)
        return {"block": block, "made": len(photos) - failed, "failed": failed}

    def read(self) -> tuple[list[str], npt.NDArray[np.float32]]:
        """Ids and unit vectors (N, D) of every normal that could be embedded, in photo order."""
        ids: list[str] = []
        vectors = []
        for block in range(len(self)):
            batch = to_batch(self.folder.read_table(self._name(block)))
            good = batch["error"] == ""
            ids += batch["photo_id"][good].tolist()
            vectors.append(batch["embedding"][good])
        return ids, np.concatenate(vectors).astype(np.float32)

    def _name(self, block: int) -> str:
        return f"{self._place}/block-{block:06d}.parquet"
