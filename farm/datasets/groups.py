"""Which photographs show one physical thing: their group, by the file names of the sets that tell.

A few hundred photographs of a few tiles are a few tiles: splits and intervals must not take them for more.
"""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

TILE = re.compile(r"exp\d+_num_(\d+)$")  # magnetic tiles: up to six exposures of a tile have neighbouring numbers
TILE_GAP = 250  # a larger gap between numbers starts a new tile
PLACE = re.compile(r"(\d+_\d+)_\d{12}_[LR]$")  # ball screws: a place followed in time, then the left or right tile


def group_photos(relatives: Iterable[str]) -> dict[str, str]:
    """The group of each photograph of a category; one of its own (its path without suffix) where the name is mute.

    Give all photographs of the category at once: tiles are told by the gaps in the numbers of all of them.
    """
    every = list(relatives)
    numbers = {relative: int(found[1]) for relative in every if (found := TILE.match(_stem(relative)))}
    tiles = _tiles(numbers.values())
    groups = {}
    for relative in every:
        place = PLACE.match(_stem(relative))
        if relative in numbers:
            groups[relative] = f"tile_{tiles[numbers[relative]]}"
        else:
            groups[relative] = f"place_{place[1]}" if place else str(PurePosixPath(relative).with_suffix(""))
    return groups


def _tiles(numbers: Iterable[int]) -> dict[int, int]:
    """The first number of its tile, for each number."""
    tiles: dict[int, int] = {}
    last = first = -TILE_GAP - 1
    for number in sorted(set(numbers)):
        if number - last > TILE_GAP:
            first = number
        tiles[number], last = first, number
    return tiles


def _stem(relative: str) -> str:
    return PurePosixPath(relative).stem
