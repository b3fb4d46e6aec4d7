"""Training images made on the spot: the draws of ``two_stage`` become pixels and labels. Needs no torch and no disk.

A row depends on its own draw alone, so it does not matter which actor makes which slots of which step.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from farm.config import RulesConfig, Run
from farm.detector.materials import Materials
from farm.detector.two_stage import Draws, Kind
from farm.errors import DataError
from farm.ids import digest, generator
from farm.images import decode_image, decode_mask
from farm.masks import foreground, target_mask
from farm.methods import Request, build_method
from farm.methods.base import Pixels

ATTEMPTS = 4  # a rule-based image without a visible defect is drawn anew; after the last the slot stays normal

Example = tuple[Pixels, Pixels, Pixels]  # (S, S, 3) image, (S, S) label, (S, S, 3) source


class Examples(NamedTuple):
    """B training images."""

    image: Pixels  # (B, S, S, 3)
    label: Pixels  # (B, S, S) in {0, 1}
    source: Pixels | None  # (B, S, S, 3): the images without their defects; None where no network reconstructs


class Feed:
    """Draws → images and labels, and sources where ``train.detector`` reconstructs. Build once per worker.

    A kept image's own source shows elsewhere what the image need not show (a method may make the whole image), so its
    pixels are taken inside the label alone, and the image's own outside.
    """

    def __init__(self, run: Run, materials: Materials) -> None:
        self.run, self.materials = run, materials
        self._config = rules_config(run)
        self._rules = build_method(self._config, run)
        self._mask_kinds = [kind for kind in self._config.masks.kinds if kind != "real" or materials.shot_masks]
        if not self._mask_kinds:
            raise DataError(f"{run.data.category}: masks.kinds asks for 'real' only, but no few-shot mask can be read")
        self._foregrounds: dict[int, npt.NDArray[np.bool_]] = {}

    def __call__(self, draws: Draws) -> Examples:
        """The images of B draws."""
        shape = (len(draws.seed), self.run.size_px, self.run.size_px)
        image, label = np.empty((*shape, 3), dtype=np.uint8), np.zeros(shape, dtype=np.uint8)
        source = np.empty_like(image) if self.run.train.detector.reconstructs else None
        rules = [slot for slot, kind in enumerate(draws.kind) if kind == "rules"]
        found = Examples(image, label, source)
        for slot in rules:
            _put(found, slot, self._unchanged(int(draws.seed[slot])))
        self._make_rules(draws, rules, found)
        for slot, seed in enumerate(draws.seed.tolist()):
            if draws.kind[slot] != "rules":
                _put(found, slot, self._ready(draws.kind[slot], seed))
            for pixels in found:
                if pixels is not None:
                    pixels[slot] = _turned(pixels[slot], seed)
        return found

    def _ready(self, kind: Kind, seed: int) -> Example:
        kept = self.materials.kept
        if kind == "normal" or kept is None or not kept.groups:
            return self._unchanged(seed)
        rng = generator(seed, "generated")
        group = kept.groups[int(rng.integers(len(kept.groups)))]
        place = int(group[int(rng.integers(len(group)))])
        where = f"kept image {place}"
        image = decode_image(kept.image_png[place].as_py(), where)
        label = decode_mask(kept.label_png[place].as_py(), where)
        if not self.run.train.detector.reconstructs:
            return image, label, image
        assert kept.source_png is not None, "a detector that reconstructs needs read_kept(folder, sources=True)"
        source = decode_image(kept.source_png[place].as_py(), f"source of {where}")
        return image, label, np.where(label[..., None], source, image)

    def _unchanged(self, seed: int) -> Example:
        source = self._normal(seed)
        return source, np.zeros(source.shape[:2], dtype=np.uint8), source

    def _make_rules(self, draws: Draws, slots: Sequence[int], found: Examples) -> None:
        """Fill ``slots``; those whose label comes out empty are drawn again from a derived seed."""
        waiting = list(slots)
        for attempt in range(ATTEMPTS):
            if not waiting:
                return
            seeds = [_again(int(draws.seed[slot]), attempt) for slot in waiting]
            request = self._request(seeds)
            made = self._rules(request)
            missed = []
            for index, slot in enumerate(waiting):
                if made.error[index] or not made.label[index].any():
                    missed.append(slot)
                else:
                    _put(found, slot, (made.image[index], made.label[index], request.source[index]))
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


def _put(found: Examples, slot: int, example: Example) -> None:
    found.image[slot], found.label[slot] = example[:2]
    if found.source is not None:
        found.source[slot] = example[2]


def _turned(pixels: Pixels, seed: int) -> Pixels:
    """Mirrored left to right and top to bottom, each by the toss of a coin."""
    across, down = generator(seed, "turn").integers(2, size=2)
    rows, columns = slice(None, None, -1 if down else 1), slice(None, None, -1 if across else 1)
    return pixels[rows, columns]
