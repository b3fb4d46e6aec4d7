"""The training pictures of the embedded models: rendered pairs in shards on disk, and the textile photographs.

A shard is a function of its seeds, so a pool that was cut off is completed, never doubled. Captions stay true under
a horizontal flip; no other change of geometry is made to a rendered picture.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from farm.fitting.task import Part
from farm.ids import generator
from farm.mini.recipe import PoolRecipe, Shard
from farm.mini.sentences import TEXTILE_SURFACE

TEXTILE = {
    "nominal": "a photo of grey felt textile",
    "local": "a photo of grey felt textile with a local fault",
    "global": "a photo of grey felt textile with a global fault",
}
Render = Callable[..., dict[str, Any]]
WHOLE = Part()


@dataclass(frozen=True)
class Pool:
    """Pictures in memory: (N, H, W, 3) uint8, their captions, whether each shows a defect, and where.

    ``changed`` (N, H/8, W/8) bool: the blocks of 8 x 8 pixels that differ from the same picture without its defect.
    """

    images: np.ndarray
    captions: list[str]
    surfaces: list[str]
    defective: np.ndarray
    changed: np.ndarray

    def __len__(self) -> int:
        return len(self.captions)


def fill_pool(folder: Path, recipe: PoolRecipe, render: Render) -> None:
    """Render what is missing of the pool, shard by shard."""
    for shard in recipe.shards():
        fill_shard(folder, shard, recipe.size_px, render)


def fill_shard(folder: Path, shard: Shard, size_px: int, render: Render) -> None:
    """Render a shard into its file, unless it is there."""
    path = folder / shard.name
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    made = render(np.arange(shard.first, shard.first + shard.pairs), size_px=size_px, surface=shard.surface)
    part = path.with_suffix(f".{uuid.uuid4().hex[:8]}.part")
    with part.open("wb") as file:
        np.savez(
            file,
            normal=np.asarray(made["normal"]),
            image=np.asarray(made["image"]),
            normal_caption=np.array(made["normal_caption"]),
            caption=np.array(made["caption"]),
            surface=np.array(made["surface"]),
            defect=np.array([name or "" for name in made["defect"]]),
        )
    os.replace(part, path)


def load_pool(folder: Path, recipe: PoolRecipe) -> Pool:
    """All shards in ``folder`` and, where the recipe says so, the textile photographs; normals and defects alike."""
    images, captions, surfaces, defective = [], list[str](), list[str](), list[bool]()
    changed = list[np.ndarray]()
    for path in sorted(folder.glob("pairs-*.npz")):
        with np.load(path, allow_pickle=False) as shard:
            names = [str(name) for name in shard["surface"]]
            for column, caption in (("normal", "normal_caption"), ("image", "caption")):
                images.append(shard[column])
                captions += [str(text) for text in shard[caption]]
                surfaces += names
            defective += [False] * len(names) + [bool(name) for name in shard["defect"]]
            where = changed_blocks(shard["normal"], shard["image"])
            changed += [np.zeros_like(where), where]
    if recipe.textile:
        photographs = list(read_textile(recipe.size_px))
        images.append(np.stack([photograph for photograph, _ in photographs]))
        captions += [TEXTILE[kind] for _, kind in photographs]
        surfaces += [TEXTILE_SURFACE] * len(photographs)
        defective += [kind != "nominal" for _, kind in photographs]
        changed.append(np.zeros((len(photographs), recipe.size_px // 8, recipe.size_px // 8), dtype=bool))
    return Pool(np.concatenate(images), captions, surfaces, np.array(defective), np.concatenate(changed))


def changed_blocks(before: np.ndarray, after: np.ndarray, by: int = 8) -> np.ndarray:
    """(N, H/8, W/8) bool: blocks in which a channel of a pixel differs by more than ``by`` of 255."""
    count, height, width, _ = before.shape
    differs = (np.abs(before.astype(np.int16) - after) > by).any(axis=3)
    return differs.reshape(count, height // 8, 8, width // 8, 8).any(axis=(2, 4))


def read_textile(size_px: int) -> Iterator[tuple[np.ndarray, str]]:
    """The textile photographs that may be learned from: normals 0 to 499, the first third of each fault.

    Each is shrunk whole; every normal also gives one native-scale crop. The white border is cut off.
    """
    from conformal_clip_data import global_dir, local_dir, nominal_dir

    for kind, folder, count in (
        ("nominal", nominal_dir(), 500),
        ("local", local_dir(), 166),
        ("global", global_dir(), 166),
    ):
        for index, path in enumerate(sorted(Path(folder).glob("*.jpg"))[:count]):
            photograph = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)[:248, :248]
            yield cv2.resize(photograph, (size_px, size_px), interpolation=cv2.INTER_AREA), kind
            if kind == "nominal":
                top, left = generator(index, "textile crop").integers(0, 248 - size_px, size=2)
                yield photograph[top : top + size_px, left : left + size_px], kind


def draw_crops(pool: Pool, count: int, crop_px: int, draw: torch.Generator, part: Part = WHOLE) -> Tensor:
    """The rows of ``part`` among (count, 3, crop, crop) float32 in [-1, 1]: random pictures, places and turns.

    For training without captions.
    """
    high = pool.images.shape[1] - crop_px + 1
    which = torch.randint(len(pool), (count,), generator=draw).tolist()
    places = torch.randint(high, (count, 2), generator=draw).tolist()
    turns = torch.randint(8, (count,), generator=draw).tolist()
    crops, rows = [], part.rows(count)
    for index, (top, left), turn in zip(which[rows], places[rows], turns[rows], strict=True):
        crop = np.rot90(pool.images[index, top : top + crop_px, left : left + crop_px], turn % 4)
        crops.append(crop[:, ::-1] if turn >= 4 else crop)
    return to_tensor(np.stack(crops))


def focused(pool: Pool, focus: tuple[str, ...]) -> np.ndarray:
    """Indices of the pool's pictures of ``focus`` and of the textile photographs; all where there is no focus."""
    wanted = {*focus, TEXTILE_SURFACE}
    return np.array([index for index, name in enumerate(pool.surfaces) if not focus or name in wanted])


def draw_rows(pool: Pool, among: np.ndarray, count: int, draw: torch.Generator) -> Tensor:
    """(count,) indices out of ``among``, half of them defective in expectation."""
    good, bad = among[~pool.defective[among]], among[pool.defective[among]]
    sides = torch.rand(count, generator=draw) < 0.5
    places = torch.rand(count, generator=draw)
    rows = [
        (bad if side and len(bad) else good)[int(place * len(bad if side and len(bad) else good))]
        for side, place in zip(sides.tolist(), places.tolist(), strict=True)
    ]
    return torch.tensor(rows)


def to_tensor(images: np.ndarray) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [-1, 1], channels last in memory."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_uint8(x_BCHW: Tensor) -> np.ndarray:
    """The way back: [-1, 1] -> (B, H, W, 3) uint8."""
    return x_BCHW.float().add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
