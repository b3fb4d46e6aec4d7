"""Prompts by material (card 000 section 5 step 1): which defects it can have, and how each engine is asked for one.

    instruct          "add a scratch to the wood", and where it suits "make the wood scratched"
    sdedit, inpaint   "a photo of wood with a scratch", as the captions in ``farm.surfaces.captions``

Words and objects are those of ``farm.surfaces`` wherever it has them, so that the embedded model knows them; "bent",
plastic and the like are for larger models.
"""

from typing import Literal

from farm.config import DefectPrompt, Material

Engine = Literal["instruct", "sdedit", "inpaint"]

WORDS: dict[str, tuple[str, str]] = {  # name: (what is added, what the object becomes; empty where nothing suits)
    "scratch": ("a scratch", "scratched"),
    "crack": ("a crack", "cracked"),
    "dent": ("a dent", "dented"),
    "bend": ("a bent area", "bent"),
    "pitting": ("pitting", "pitted"),
    "blowhole": ("a blowhole", "porous"),
    "hole": ("a hole", ""),
    "stain": ("a stain", "stained"),
    "rust": ("rust", "rusty"),
    "discoloration": ("discoloration", "discolored"),
    "contamination": ("foreign particles", "dirty"),
    "broken_edge": ("a broken edge", "broken"),
    "missing_part": ("a missing part", ""),
    "chip": ("a chip", "chipped"),
    "wrinkle": ("a wrinkle", "wrinkled"),
    "bubble": ("a bubble", "blistered"),
    "fray": ("a frayed area", "frayed"),
    "uneven": ("an uneven area", "uneven"),
    "weave_fault": ("a weaving fault", ""),
    "pulled_thread": ("a pulled thread", ""),
    "print_smear": ("a print smear", "smeared"),
    "open": ("an open circuit", ""),
    "short": ("a short circuit", ""),
    "spur": ("a spur", ""),
    "mousebite": ("a mouse bite", ""),
    "spurious_copper": ("spurious copper", ""),
    "pinhole": ("a pinhole", ""),
}

TABLE: dict[Material, tuple[str, tuple[str, ...]]] = {  # material: (what it is called, its defects)
    "metal": (
        "brushed metal",
        ("scratch", "crack", "dent", "bend", "pitting", "stain", "rust", "contamination", "discoloration"),
    ),
    "steel": ("grooved steel", ("pitting", "rust", "scratch", "crack", "dent", "stain", "contamination")),
    "magnet": (
        "a magnetic tile",
        ("blowhole", "crack", "fray", "uneven", "broken_edge", "chip", "scratch", "stain"),
    ),
    "textile": (
        "woven fabric",
        ("hole", "stain", "weave_fault", "pulled_thread", "contamination", "discoloration"),
    ),
    "leather": (
        "leather",
        ("scratch", "crack", "hole", "stain", "dent", "wrinkle", "discoloration", "contamination"),
    ),
    "wood": ("wood", ("scratch", "crack", "hole", "stain", "dent", "chip", "discoloration", "contamination")),
    "ceramic": (
        "a ceramic tile",
        ("crack", "chip", "broken_edge", "pitting", "scratch", "stain", "discoloration", "contamination"),
    ),
    "concrete": ("concrete", ("crack", "hole", "pitting", "chip", "broken_edge", "stain", "contamination")),
    "stone": ("granite", ("crack", "chip", "pitting", "scratch", "stain", "discoloration", "contamination")),
    "glass": ("glass", ("scratch", "crack", "chip", "broken_edge", "bubble", "stain", "contamination")),
    "paper": (
        "paper",
        ("hole", "stain", "wrinkle", "broken_edge", "print_smear", "discoloration", "contamination"),
    ),
    "rubber": ("rubber", ("crack", "hole", "dent", "pitting", "broken_edge", "scratch", "stain", "contamination")),
    "film": (
        "printed film",
        ("print_smear", "scratch", "hole", "wrinkle", "missing_part", "stain", "discoloration", "contamination"),
    ),
    "plastic": (
        "a plastic part",
        ("scratch", "crack", "dent", "bend", "bubble", "missing_part", "stain", "discoloration", "contamination"),
    ),
    "pcb": (
        "a circuit board",
        ("open", "short", "spur", "mousebite", "spurious_copper", "pinhole", "scratch", "missing_part"),
    ),
    "food": ("a cookie", ("broken_edge", "missing_part", "crack", "chip", "stain", "discoloration", "contamination")),
    "tablet": ("a tablet", ("crack", "chip", "broken_edge", "pitting", "print_smear", "stain", "contamination")),
}


def prompts(material: Material, engine: Engine, object_name: str | None = None) -> tuple[DefectPrompt, ...]:
    """The prompts of a material in the style of an engine; under ``instruct`` some defects are asked for in two ways.

    ``object_name`` is what the photographs show, with its article ("a bearing ring"); None = the table's own name.
    """
    usual, defects = TABLE[material]
    name = object_name or usual
    if engine != "instruct":
        return tuple(
            DefectPrompt(name=defect, prompt=f"a photo of {name} with {WORDS[defect][0]}") for defect in defects
        )
    bare = without_article(name)
    added = [(defect, f"add {WORDS[defect][0]} to the {bare}") for defect in defects]
    become = [(defect, f"make the {bare} {WORDS[defect][1]}") for defect in defects if WORDS[defect][1]]
    return tuple(DefectPrompt(name=defect, prompt=text) for defect, text in (*added, *become))


def without_article(name: str) -> str:
    """ "a circuit board" -> "circuit board"; a name without an article as it is."""
    first, _, rest = name.partition(" ")
    return rest if rest and first.lower() in ("a", "an", "the") else name
