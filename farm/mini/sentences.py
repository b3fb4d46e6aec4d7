"""Sentences about surfaces: how the small CLIP's training and its zero-shot prompts speak of them.

A sentence is an opening ("a photo of"), a subject ("a brass nut") and what is said of its state: nothing or that it is
sound, that it has some defect, or which one.
"""

from collections.abc import Sequence

TEXTILE_SURFACE = "grey felt textile"
OPENINGS = (
    "a photo of",
    "a photo of",
    "a close-up photo of",
    "an inspection photo of",
    "a photograph of",
    "a factory photo of",
)
SOUND_ENDINGS = ("", "without a defect", "without defects", "without damage", "in good condition")
FAULT_ENDINGS = ("with a defect", "with a fault", "with defects", "with damage")
SOUND_WORDS = ("good", "flawless", "intact")
FAULT_WORDS = ("defective", "damaged", "faulty")
TEXTILE_FAULTS = {"local": ("a local fault",), "global": ("a global fault",)}

WORDS: dict[str, tuple[str, ...]] = {
    "brushed_metal": ("brushed metal", "brushed steel", "brushed aluminium"),
    "cast_metal": ("cast metal", "a metal casting", "cast iron"),
    "painted_metal": ("painted metal", "a painted panel", "a coated metal sheet"),
    "turned_metal": ("turned metal", "machined metal", "a machined metal face"),
    "grooved_steel": ("grooved steel", "a grooved steel shaft", "a ball screw raceway"),
    "ground_tile": ("a ground tile", "a magnetic tile", "a ground magnetic tile", "a ferrite tile"),
    "woven_fabric": ("woven fabric", "a woven textile", "woven cloth"),
    "knitted_fabric": ("knitted fabric", "a knitted textile"),
    "felt_textile": ("felt", "felted textile", "fibrous textile"),
    "leather": ("leather", "grained leather", "a leather hide"),
    "wood": ("wood", "wood grain", "a wooden board"),
    "ceramic_tile": ("ceramic tile", "a ceramic tile", "glazed tile"),
    "concrete": ("concrete", "cement", "a concrete wall"),
    "granite": ("granite", "polished stone", "a stone slab"),
    "glass": ("glass", "clear glass", "a glass pane"),
    "paper": ("paper", "a paper sheet", "kraft paper"),
    "rubber": ("rubber", "a rubber sheet"),
    "printed_film": ("printed film", "packaging film", "a printed label"),
    "pcb": ("a circuit board", "a printed circuit board", "a PCB"),
    "pcb_mono": ("a scanned circuit board", "a binary circuit board scan", "a black and white circuit board"),
    "nut": ("a metal nut", "a hexagon nut", "a steel nut", "a brass nut"),
    "washer": ("a metal washer", "a metal disc", "a brass washer"),
    "gear": ("a metal gear", "a brass gear"),
    "cookie": ("a cookie", "a biscuit", "a chocolate chip cookie"),
    "tablet": ("a tablet", "a pill", "a white tablet", "a coloured tablet"),
    "capsule": ("a capsule", "a gelatine capsule", "a two-colour capsule"),
    TEXTILE_SURFACE: ("grey felt textile",),
}  # what a caption calls each surface; the subjects of the prompts


def qualified(subject: str, word: str) -> str:
    """The subject with an adjective, behind its article where it has one: "a nut", "intact" -> "an intact nut"."""
    for article in ("a ", "an "):
        if subject.startswith(article):
            return f"{'an' if word[0] in 'aeiou' else 'a'} {word} {subject[len(article) :]}"
    return f"{word} {subject}"


def sentence(opening: str, subject: str, ending: str) -> str:
    """The three parts with single spaces; an empty ending says nothing of the state."""
    return f"{opening} {subject} {ending}".rstrip()


def subject_of(caption: str) -> str:
    """What a catalogue caption of a picture without a defect shows: the words behind its opening."""
    return caption.split(" of ", 1)[1]


def states(
    subjects: Sequence[str], endings: Sequence[str], words: Sequence[str], opening: str = "a photo of"
) -> list[str]:
    """Every subject with every ending, and with every adjective."""
    told = [sentence(opening, subject, ending) for subject in subjects for ending in endings]
    return told + [sentence(opening, qualified(subject, word), "") for subject in subjects for word in words]
