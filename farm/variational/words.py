"""What may stand in a prompt: words near a product (WordNet's kin), words of a good state, and words never to be used.

The table is shipped because WordNet itself is a download. Each entry holds synonyms, hypernyms and hyponyms of the
noun in the sense that a factory means (WordNet 3.1's neighbourhoods, by hand); an entry's order means nothing.
"""

import re

WORDS: dict[str, tuple[str, ...]] = {
    "aluminium": ("aluminum", "metal", "light metal", "foil", "alloy"),
    "bearing": ("ball bearing", "roller bearing", "machine part", "ring", "race"),
    "board": ("panel", "sheet", "circuit board", "card", "substrate"),
    "bolt": ("fastener", "screw", "rod", "thread", "pin"),
    "bottle": ("vessel", "glass", "flask", "container", "neck", "rim"),
    "cable": ("wire", "conductor", "line", "strand", "insulation", "copper"),
    "candle": ("wax", "taper", "wick", "light"),
    "capacitor": ("condenser", "electrical device", "component", "electrolytic"),
    "capsule": ("pill", "gelatin", "shell", "medicine", "dose"),
    "carpet": ("rug", "floor cover", "pile", "weave", "wool", "yarn"),
    "cashew": ("nut", "seed", "kernel", "food"),
    "ceramic": ("porcelain", "earthenware", "clay", "glaze", "tile"),
    "chip": ("microchip", "integrated circuit", "semiconductor", "die", "wafer"),
    "cloth": ("fabric", "textile", "material", "weave", "felt", "cotton"),
    "concrete": ("cement", "aggregate", "building material", "slab"),
    "cookie": ("biscuit", "cake", "pastry", "wafer", "baked goods"),
    "fabric": ("cloth", "textile", "material", "weave", "felt", "thread"),
    "felt": ("fabric", "cloth", "wool", "fibre", "textile"),
    "film": ("foil", "sheet", "membrane", "plastic", "coating"),
    "fryum": ("snack", "food", "dough"),
    "gear": ("cogwheel", "gearwheel", "wheel", "tooth", "mechanism"),
    "glass": ("pane", "plate glass", "solid", "crystal", "lens"),
    "grid": ("mesh", "grating", "lattice", "network", "wire"),
    "hazelnut": ("filbert", "cobnut", "nut", "seed", "shell", "kernel"),
    "leather": ("hide", "grain", "suede", "cowhide", "skin", "material"),
    "macaroni": ("pasta", "food", "dough", "tube"),
    "magnet": ("ferrite", "attractor", "permanent magnet", "iron", "ceramic"),
    "metal": ("metallic element", "alloy", "steel", "iron", "brass", "sheet metal"),
    "nut": ("fastener", "hex nut", "thread", "metal", "steel", "brass"),
    "paper": ("sheet", "cardboard", "pulp", "tissue", "newsprint"),
    "pcb": ("printed circuit", "circuit board", "copper", "solder", "track", "substrate"),
    "pill": ("tablet", "lozenge", "medicine", "dose", "coating"),
    "pipe": ("tube", "conduit", "pipeline", "hose", "cylinder"),
    "plastic": ("polymer", "resin", "acrylic", "polythene", "synthetic"),
    "plate": ("sheet", "panel", "disc", "metal plate", "slab"),
    "rail": ("track", "steel", "bar", "railway", "running surface"),
    "rubber": ("caoutchouc", "elastomer", "latex", "gum", "synthetic rubber"),
    "screw": ("fastener", "thread", "spindle", "shaft", "bolt", "steel", "groove"),
    "spindle": ("shaft", "axis", "mandrel", "thread", "steel"),
    "steel": ("alloy", "iron", "stainless steel", "metal", "sheet metal"),
    "stone": ("rock", "granite", "marble", "slab", "mineral"),
    "surface": ("face", "finish", "texture", "coating", "facing"),
    "tablet": ("pill", "lozenge", "medicine", "dose"),
    "textile": ("cloth", "fabric", "material", "weave", "felt", "yarn", "thread"),
    "tile": ("slab", "ceramic", "clay", "paving", "plate", "glaze"),
    "toothbrush": ("brush", "bristle", "handle", "tuft"),
    "transistor": ("semiconductor", "electrical device", "component", "lead", "junction"),
    "wafer": ("silicon", "disc", "semiconductor", "substrate", "die"),
    "wire": ("conductor", "filament", "cable", "strand", "copper"),
    "wood": ("timber", "plank", "oak", "pine", "grain", "lumber", "veneer"),
    "zipper": ("slide fastener", "zip", "tooth", "tape", "slider"),
    # words of two: what they are, not what their last word is
    "ball screw": ("screw", "spindle", "shaft", "thread", "groove", "raceway", "steel"),
    "cable gland": ("fitting", "connector", "seal", "thread"),
    "magnetic tile": ("magnet", "ferrite", "ceramic", "plate", "arc segment"),
    "metal nut": ("hex nut", "fastener", "thread", "metallic element", "steel", "brass"),
}

STATUS = (
    "clean",
    "complete",
    "even",
    "flat",
    "flawless",
    "fresh",
    "glossy",
    "good",
    "healthy",
    "intact",
    "matte",
    "metallic",
    "neat",
    "new",
    "normal",
    "perfect",
    "plain",
    "polished",
    "pure",
    "regular",
    "shiny",
    "smooth",
    "solid",
    "sound",
    "straight",
    "tidy",
    "undamaged",
    "uniform",
    "whole",
)

_BLOCKED_BASES = (
    *("abrade", "bend", "blemish", "blister", "break", "bruise", "bubble", "bump", "burn", "burr", "chip", "cleave"),
    *("collapse", "contaminate", "corrode", "crack", "crease", "crumple", "crush", "cut", "damage", "defect", "deform"),
    *(
        "degrade",
        "dent",
        "detach",
        "deteriorate",
        "discolour",
        "discolor",
        "distort",
        "erode",
        "fail",
        "fault",
        "flake",
    ),
    *("flaw", "fracture", "fray", "gouge", "graze", "hole", "impair", "imperfect", "indent", "kink", "knot", "leak"),
    *("loosen", "mar", "misalign", "misplace", "miss", "mould", "mold", "nick", "notch", "oxidise", "oxidize", "peel"),
    *(
        "pierce",
        "pit",
        "poke",
        "pollute",
        "print",
        "puncture",
        "rip",
        "rot",
        "ruin",
        "rupture",
        "rust",
        "scar",
        "scrape",
    ),
    *("scratch", "scuff", "shatter", "smash", "smear", "smudge", "snap", "soil", "splinter", "split", "spoil", "spot"),
    *("squeeze", "stain", "tarnish", "tear", "twist", "void", "warp", "wear", "wound", "wreck", "wrinkle"),
)
_BLOCKED_ALONE = (
    *(
        "abnormal",
        "abnormality",
        "abrasion",
        "anomalous",
        "anomaly",
        "anomalies",
        "bad",
        "bent",
        "blowhole",
        "blowholes",
    ),
    *("broke", "broken", "burnt", "contamination", "corrosion", "crooked", "deformation", "defective", "deformity"),
    *("dirt", "dirty", "discoloration", "discolouration", "disordered", "dust", "dusty", "erosion"),
    *("flaky", "frayed", "greasy", "grimy", "imperfection", "imperfections", "impure", "impurity", "incomplete"),
    *("irregular", "jagged", "loose", "mouldy", "moldy", "missing", "muddy", "oxidation", "patchy", "ragged", "rotten"),
    *(
        "rough",
        "rusty",
        "scrap",
        "stained",
        "thrown",
        "tore",
        "torn",
        "uneven",
        "unsound",
        "used",
        "waste",
        "wore",
        "worn",
    ),
)
_HONEST = frozenset({"chip", "chips", "print", "prints", "printed", "printing"})  # products are called so


def _forms(base: str) -> set[str]:
    """``base`` with its regular endings and -y; not -er, which names tools. Forms that no one writes do no harm."""
    stem = base.removesuffix("e")
    doubled = base + base[-1]
    plural = f"{base}es" if base.endswith(("s", "x", "ch", "sh")) else f"{base}s"
    ends = {f"{one}{end}" for one in (stem, base, doubled) for end in ("ed", "ing", "y")}
    return {base, plural, *ends}


BLOCKED = frozenset(form for base in _BLOCKED_BASES for form in _forms(base)).union(_BLOCKED_ALONE) - _HONEST


def is_blocked(text: str) -> bool:
    """Whether ``text`` has a word of damage or dirt in it, in any of its regular forms; upper or lower case."""
    return any(word in BLOCKED for word in re.findall(r"[a-z]+", text.lower()))


def without_blocked(name: str) -> str:
    """``name`` (a category, words apart by spaces, hyphens or underscores) in lower case without its blocked words."""
    return " ".join(word for word in re.findall(r"[^\W_]+", name.lower()) if word not in BLOCKED)


def library(keyword: str) -> tuple[str, ...]:
    """Words W_t for ``keyword``, sorted, each once, none blocked: its kin in ``WORDS`` and all of ``STATUS``.

    A keyword of several words that the table does not know is taken by its last word that it knows, so that "grooved
    steel" reads as "steel". Of an unknown keyword only the status words are left. The keyword itself is left out.
    """
    words = without_blocked(keyword).split()
    known = [" ".join(words), *reversed(words)]
    kin = next((WORDS[one] for one in known if one in WORDS), ())
    return tuple(sorted(word for word in {*kin, *STATUS} - {" ".join(words)} if not is_blocked(word)))
