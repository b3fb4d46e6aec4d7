"""Defects that are painted on a surface's maps, each with the exact mask of what it changed."""

from __future__ import annotations

from farm.surfaces.defects import circuit, debris, lines, relief, rims, threads, tints
from farm.surfaces.defects.base import Defect
from farm.surfaces.defects.masks import mask_shape

__all__ = ["DEFECTS", "Defect", "draw_mask"]

draw_mask = mask_shape

_METALS = {"brushed_metal", "cast_metal", "painted_metal", "turned_metal", "grooved_steel", "ground_tile"}
_STEEL_PARTS = {"nut", "washer", "gear"}
_MOULDED_PARTS = {"tablet", "capsule", "cookie"}
_PARTS = _STEEL_PARTS | _MOULDED_PARTS
_CLOTHS = {"woven_fabric", "knitted_fabric", "felt_textile"}
_STONES = {"ceramic_tile", "concrete", "granite", "glass"}
_SOFT_SHEETS = {"leather", "paper", "rubber", "printed_film"}
_COLOURED_BOARD, _SCANNED_BOARD = {"pcb"}, {"pcb_mono"}
_BOARDS = frozenset(_COLOURED_BOARD | _SCANNED_BOARD)
_ALL_BUT_SCANS = frozenset(
    _METALS | _PARTS | _CLOTHS | _STONES | _SOFT_SHEETS | {"wood"} | _COLOURED_BOARD
)  # on a bilevel scan only copper and no copper can be told apart


def _table(*defects: Defect) -> dict[str, Defect]:
    return {defect.name: defect for defect in defects}


DEFECTS: dict[str, Defect] = _table(
    Defect(
        "scratch",
        ("a scratch", "a scratch", "scratches", "a scratched surface", "a scratch mark"),
        _ALL_BUT_SCANS - _CLOTHS - {"cookie"},
        lines.scratch,
    ),
    Defect(
        "crack",
        ("a crack", "a crack", "cracks", "a cracked surface", "a fine crack"),
        frozenset(_METALS | _PARTS | _STONES | {"wood", "leather", "rubber", "pcb"}),
        lines.crack,
    ),
    Defect(
        "dent",
        ("a dent", "a dent", "a dented area", "an impact mark"),
        frozenset(_METALS | _STEEL_PARTS | _SOFT_SHEETS | {"wood", "tablet", "capsule"}),
        relief.dent,
    ),
    Defect(
        "pit",
        ("pitting", "pitting", "pits", "surface pitting", "corroded pits"),
        frozenset(_METALS | _STEEL_PARTS | {"concrete", "ceramic_tile", "granite", "rubber", "tablet"}),
        relief.pit,
    ),
    Defect(
        "stain",
        ("a stain", "a stain", "a stained area", "a liquid stain", "a spot"),
        _ALL_BUT_SCANS,
        tints.stain,
    ),
    Defect(
        "rust",
        ("rust", "rust", "a rusty patch", "corrosion"),
        frozenset(_METALS | _STEEL_PARTS),
        tints.rust,
    ),
    Defect(
        "hole",
        ("a hole", "a hole", "a puncture", "a torn hole"),
        frozenset(_CLOTHS | _SOFT_SHEETS | {"wood", "cast_metal", "painted_metal", "concrete", "tablet", "capsule"}),
        relief.hole,
    ),
    Defect(
        "contamination",
        ("contamination", "foreign particles", "debris on it", "a foreign body", "dirt on it"),
        _ALL_BUT_SCANS,
        debris.contamination,
    ),
    Defect(
        "broken_edge",
        ("a broken edge", "a broken edge", "a chipped edge", "a broken rim"),
        frozenset(_PARTS | _STONES | {"ground_tile", "wood", "paper", "rubber"}),
        rims.broken_edge,
    ),
    Defect(
        "missing_part",
        ("a missing part", "a missing part", "a piece missing", "missing material"),
        frozenset(_PARTS | {"painted_metal", "ceramic_tile", "leather", "printed_film", "wood", "pcb"}),
        rims.missing_part,
    ),
    Defect(
        "discoloration",
        ("discoloration", "discoloration", "a discolored area", "a faded area", "a colour defect"),
        _ALL_BUT_SCANS,
        tints.discoloration,
    ),
    Defect(
        "chip",
        ("a chip", "a chipped surface", "a flaked spot", "a chipped area"),
        frozenset(_STONES | _STEEL_PARTS | {"painted_metal", "ground_tile", "wood", "tablet", "cookie", "leather"}),
        relief.chip,
    ),
    Defect(
        "weave_fault",
        ("a weaving fault", "a weaving defect", "a thread defect", "a pulled thread"),
        frozenset(_CLOTHS),
        threads.weave_fault,
    ),
    Defect(
        "print_smear",
        ("a smeared print", "a print smear", "smeared ink", "a misprint"),
        frozenset({"printed_film", "paper", "pcb", "tablet", "capsule"}),
        threads.print_smear,
    ),
    Defect(
        "blowhole",
        ("a blowhole", "a blowhole", "a gas pore", "blowholes"),
        frozenset({"ground_tile", "cast_metal"}),
        relief.blowhole,
    ),
    Defect(
        "fray",
        ("fray", "a frayed area", "an unground patch", "a dull patch"),
        frozenset({"ground_tile"}),
        tints.fray,
    ),
    Defect(
        "uneven",
        ("an uneven area", "uneven grinding", "an unevenly ground band"),
        frozenset({"ground_tile"}),
        tints.uneven,
    ),
    Defect("open", ("an open circuit", "a broken track", "an open"), _BOARDS, circuit.open_circuit),
    Defect("short", ("a short circuit", "a short", "two tracks shorted"), _BOARDS, circuit.short_circuit),
    Defect("spur", ("a spur", "a copper spur", "a spur on a track"), _BOARDS, circuit.spur),
    Defect("mousebite", ("a mouse bite", "a mousebite", "a nick in a track"), _BOARDS, circuit.mousebite),
    Defect(
        "spurious_copper", ("spurious copper", "excess copper", "a copper island"), _BOARDS, circuit.spurious_copper
    ),
    Defect("pinhole", ("a pinhole", "a pin hole", "a pinhole in the copper"), _BOARDS, circuit.pinhole),
)
