"""Training images made on the spot: the draws of ``two_stage`` become pixels and labels. Needs no torch and no disk.

A row depends on its own draw alone, so it does not matter which actor makes which slots of which step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from farm.config import RulesConfig, Run
from farm.datasets import read_mask, read_photo
from farm.datasets.photo import PhotoSet
from farm.detector.two_stage import Draws, Kind
from farm.errors import DataError
from farm.ids import digest, generator
from farm.images import decode_image, decode_mask
from farm.masks import foreground, target_mask
from farm.methods import Request, build_method
from farm.methods.base import Pixels
from farm.run_folder import RunFolder

KEPT_COLUMNS = ("kind", "method", "defect", "image_png", "label_png")
ATTEMPTS = 4  # a rule-based image without a visible defect is drawn anew; after the last the slot stays normal


@dataclass(frozen=True)
class Kept:
    """The kept generated defects as PNG, and their places by (method, defect), so that each pair is drawn alike.

    ``kept_defects`` makes it and lets no normal in; ``read_kept_normals`` gives those.
    """

    image_png: pa.ChunkedArray
    label_png: pa.ChunkedArray
    groups: tuple[npt.NDArray[np.int64], ...]

    def __len__(self) -> int:
        return len(self.image_png)


@dataclass(frozen=True)
class Materials:
    """What images are made of. Read once, then shared by all makers."""

    normals: Pixels  # (N, S, S, 3): photographs and, in stage 2, kept generated normals
    shot_masks: tuple[Pixels, ...]  # (S, S) each
    kept: Kept | None


def read_materials(run: Run, photos: PhotoSet, kept: Kept | None = None, generated: Sequence[Pixels] = ()) -> Materials:
    """Read the normals and the few-shot masks of ``photos``; test photographs cannot get in by their type.

    ``generated`` normals (S, S, 3) join those of ``photos``.
    """
    if not photos.train:
        raise DataError(f"{run.data.category}: no normal photographs to learn from; check data.root")
    normals = [read_photo(photo, run.size_px, run.data.max_megapixels) for photo in photos.train]
    masks = [read_mask(shot, run.size_px, run.data.max_megapixels) for shot in photos.shots if shot.mask_path]
    return Materials(np.stack([*normals, *generated]), tuple(mask for mask in masks if mask.any()), kept)


def read_kept(folder: RunFolder) -> Kept:
    """The kept defects of a judged run, in row order."""
    tables = [table.filter(pc.equal(table["kind"], "defect")) for table in folder.kept(KEPT_COLUMNS)]
    if not tables:
        empty = pa.chunked_array([], type=pa.binary())
        return Kept(empty, empty, ())
    return kept_defects(pa.concat_tables(tables))


def read_kept_normals(folder: RunFolder) -> list[Pixels]:
    """The kept generated normals (S, S, 3) of a judged run, in row order."""
    tables = [table.filter(pc.equal(table["kind"], "normal")) for table in folder.kept(["kind", "image_png"])]
    images = [png for table in tables for png in table["image_png"].to_pylist()]
    return [decode_image(png, f"kept normal {place}") for place, png in enumerate(images)]


def kept_defects(table: pa.Table) -> Kept:
    """``table`` with ``KEPT_COLUMNS`` as what defects are drawn from. ``DataError`` where a row is no defect."""
    others = table.filter(pc.not_equal(table["kind"], "defect"))
    if len(others):
        raise DataError(
            f"kept images: {len(others)} of {len(table)} rows are of kind '{others['kind'][0].as_py()}', first of "
            f"method '{others['method'][0].as_py()}'; a normal is never learned as a defect; read_kept_normals takes it"
        )
    pairs = list(zip(table["method"].to_pylist(), table["defect"].to_pylist(), strict=True))
    groups = [np.flatnonzero([pair == wanted for pair in pairs]) for wanted in sorted(set(pairs))]
    return Kept(table["image_png"], table["label_png"], tuple(groups))


class Feed:
    """Draws → images and labels. Build once per worker."""

    def __init__(self, run: Run, materials: Materials) -> None:
        self.run, self.materials = run, materials
        self._config = rules_config(run)
        self._rules = build_method(self._config, run)
        self._mask_kinds = [kind for kind in self._config.masks.kinds if kind != "real" or materials.shot_masks]
        if not self._mask_kinds:
            raise DataError(f"{run.data.category}: masks.kinds asks for 'real' only, but no few-shot mask can be read")
        self._foregrounds: dict[int, npt.NDArray[np.bool_]] = {}

    def __call__(self, draws: Draws) -> tuple[Pixels, Pixels]:
        """uint8 (B, S, S, 3) images and uint8 (B, S, S) labels in {0, 1} for B draws."""
        size = self.run.size_px
        image = np.empty((len(draws.seed), size, size, 3), dtype=np.uint8)
        label = np.zeros((len(draws.seed), size, size), dtype=np.uint8)
        rules = [slot for slot, kind in enumerate(draws.kind) if kind == "rules"]
        for slot in rules:
            image[slot] = self._normal(int(draws.seed[slot]))
        self._make_rules(draws, rules, image, label)
        for slot, seed in enumerate(draws.seed.tolist()):
            if draws.kind[slot] != "rules":
                image[slot], label[slot] = self._ready(draws.kind[slot], seed)
            image[slot], label[slot] = _turned(image[slot], label[slot], seed)
        return image, label

    def _ready(self, kind: Kind, seed: int) -> tuple[Pixels, Pixels]:
        kept = self.materials.kept
        if kind == "normal" or kept is None or not kept.groups:
            source = self._normal(seed)
            return source, np.zeros(source.shape[:2], dtype=np.uint8)
        rng = generator(seed, "generated")
        group = kept.groups[int(rng.integers(len(kept.groups)))]
        place = int(group[int(rng.integers(len(group)))])
        where = f"kept image {place}"
        return decode_image(kept.image_png[place].as_py(), where), decode_mask(kept.label_png[place].as_py(), where)

    def _make_rules(self, draws: Draws, slots: Sequence[int], image: Pixels, label: Pixels) -> None:
        """Fill ``slots``; those whose label comes out empty are drawn again from a derived seed."""
        waiting = list(slots)
        for attempt in range(ATTEMPTS):
            if not waiting:
                return
            seeds = [_again(int(draws.seed[slot]), attempt) for slot in waiting]
            made = self._rules(self._request(seeds))
            missed = []
            for index, slot in enumerate(waiting):
                if made.error[index] or not made.label[index].any():
                    missed.append(slot)
                else:
                    image[slot], label[slot] = made.image[index], made.label[index]
            waiting = missed

    def _request(self, seeds: Sequence[int]) -> Request:
        rngs = [generator(seed, "rules") for seed in seeds]
        recipes = [str(rng.choice(self._config.recipes)) for rng in rngs]
        kinds = [str(rng.choice(self._mask_kinds)) for rng in rngs]
        blank = ("",) * len(seeds)
        return Request(
            source=np.stack([self._normal(seed) for seed in seeds]),
            mask=np.stack([self._mask(kind, seed) for kind, seed in zip(kinds, seeds, strict=True)]),
            seed=np.asarray(seeds, dtype=np.int64),
            recipe=tuple(recipes),
            prompt=blank,
            normal_prompt=blank,
        )

    def _mask(self, kind: str, seed: int) -> Pixels:
        place = self._place(seed)
        if place not in self._foregrounds:
            self._foregrounds[place] = foreground(self.materials.normals[place])
        settings, shots = self._config.masks, self.materials.shot_masks
        return target_mask(kind, seed, self.run.size_px, settings, self._foregrounds[place], list(shots))

    def _normal(self, seed: int) -> Pixels:
        return self.materials.normals[self._place(seed)]

    def _place(self, seed: int) -> int:
        return int(generator(seed, "normal").integers(len(self.materials.normals)))


def rules_config(run: Run) -> RulesConfig:
    """The settings of rule-based images: those of the run's own rule arm, else the defaults."""
    found: Iterator[RulesConfig] = (method for method in run.methods if isinstance(method, RulesConfig))
    return next(found, RulesConfig())


def _again(seed: int, attempt: int) -> int:
    return seed if not attempt else int.from_bytes(digest("again", seed, attempt)[:8], "little") >> 1


def _turned(image: Pixels, label: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    """Mirrored left to right and top to bottom, each by the toss of a coin."""
    across, down = generator(seed, "turn").integers(2, size=2)
    rows, columns = slice(None, None, -1 if down else 1), slice(None, None, -1 if across else 1)
    return image[rows, columns], label[rows, columns]
