"""What the small CLIP learns from: pairs of pictures without and with a defect, and what may be said of each.

A sentence about a pair is either its catalogue caption or one made here: the pair's own subject with a plain word on
its state, so that "with a defect" and "without a defect" are words the model has learned.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from farm.mini.data import read_textile
from farm.mini.recipe import PoolRecipe
from farm.mini.sentences import (
    FAULT_ENDINGS,
    FAULT_WORDS,
    OPENINGS,
    SOUND_ENDINGS,
    SOUND_WORDS,
    TEXTILE_FAULTS,
    TEXTILE_SURFACE,
    qualified,
    sentence,
    subject_of,
)
from farm.surfaces import DEFECTS

ANY = "any"  # the state of a sentence that says that there is a defect and not which


@dataclass(frozen=True)
class Pairs:
    """N pairs in memory: (N, 2, H, W, 3) uint8, without and with a defect, and their words."""

    images: np.ndarray
    captions: list[tuple[str, str]]
    surfaces: list[str]
    defects: list[str]

    def __len__(self) -> int:
        return len(self.surfaces)


def load_pairs(folder: Path, recipe: PoolRecipe) -> Pairs:
    """All shards in ``folder`` and, where the recipe says so, the textile photographs."""
    paths = sorted(folder.glob("pairs-*.npz"))
    photographs = list(_textile(recipe.size_px)) if recipe.textile else []
    counts = [_length(path) for path in paths]
    images = np.empty((sum(counts) + len(photographs), 2, recipe.size_px, recipe.size_px, 3), np.uint8)
    captions, surfaces, defects, start = list[tuple[str, str]](), list[str](), list[str](), 0
    for path, count in zip(paths, counts, strict=True):
        with np.load(path, allow_pickle=False) as shard:
            images[start : start + count, 0], images[start : start + count, 1] = shard["normal"], shard["image"]
            captions += zip(shard["normal_caption"].tolist(), shard["caption"].tolist(), strict=True)
            surfaces += shard["surface"].tolist()
            defects += shard["defect"].tolist()
            start += count
    for place, (sound, faulty, kind) in enumerate(photographs):
        images[start + place] = sound, faulty
        said = f"a photo of {TEXTILE_SURFACE}"
        captions.append((said, f"{said} with {TEXTILE_FAULTS[kind][0]}"))
        surfaces.append(TEXTILE_SURFACE)
        defects.append(kind)
    return Pairs(images, captions, surfaces, defects)


def _length(path: Path) -> int:
    with np.load(path, allow_pickle=False) as shard:
        return len(shard["surface"])


def _textile(size_px: int) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Each normal photograph, whole, beside a fault: these are no twins, so faults come again with other normals."""
    photographs = list(read_textile(size_px))
    sound = [image for image, kind in photographs if kind == "nominal"][::2]  # every second one is a crop
    faults = [(image, kind) for image, kind in photographs if kind != "nominal"]
    for place, image in enumerate(sound):
        yield image, *faults[place % len(faults)]


def draw_groups(among: dict[str, np.ndarray], groups: int, each: int, draw: torch.Generator) -> list[int]:
    """``groups`` x ``each`` pairs; those of a group share a surface, so that sentences differ in the state alone.

    ``among``: the pairs of each surface. A surface is drawn in proportion to the root of their number.
    """
    names = list(among)
    odds = torch.tensor([len(among[name]) for name in names]).sqrt()
    rows = list[int]()
    for index in torch.multinomial(odds, groups, replacement=len(names) < groups, generator=draw).tolist():
        own = among[names[index]]
        rows += own[torch.randint(len(own), (each,), generator=draw).numpy()].tolist()
    return rows


def sound_sentence(caption: str, draw: torch.Generator) -> str:
    """A sentence about the picture without a defect: half of them the caption itself."""
    opening, ending, word, share = _drawn(OPENINGS, SOUND_ENDINGS, SOUND_WORDS, draw)
    if share < 0.5:
        return caption
    subject = subject_of(caption)
    return sentence(opening, subject, ending) if share < 0.85 else sentence(opening, qualified(subject, word), "")


def faulty_sentence(captions: tuple[str, str], defect: str, draw: torch.Generator) -> tuple[str, str]:
    """A sentence about the picture with a defect, and the state it tells: the defect's name or ``ANY``."""
    opening, ending, word, share = _drawn(OPENINGS, FAULT_ENDINGS, FAULT_WORDS, draw)
    phrases = TEXTILE_FAULTS[defect] if defect in TEXTILE_FAULTS else DEFECTS[defect].phrases
    phrase = phrases[int(torch.randint(len(phrases), (1,), generator=draw))]
    if share < 0.4:
        return captions[1], defect
    subject = subject_of(captions[0])
    if share < 0.6:
        return sentence(opening, subject, f"with {phrase}"), defect
    return (
        sentence(opening, subject, ending) if share < 0.85 else sentence(opening, qualified(subject, word), "")
    ), ANY


def _drawn(
    openings: tuple[str, ...], endings: tuple[str, ...], words: tuple[str, ...], draw: torch.Generator
) -> tuple[str, str, str, float]:
    first, second, third, share = torch.rand(4, generator=draw).tolist()
    return (
        openings[int(first * len(openings))],
        endings[int(second * len(endings))],
        words[int(third * len(words))],
        share,
    )
