"""The few-shot photographs that a method learns from, at the run's size: photographs, masks, defects and texts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from farm.config import MethodConfig, Run
from farm.datasets import read_mask, read_photo
from farm.datasets.photo import PhotoSet, ShotPhoto, TrainPhoto, defect_name
from farm.errors import DataError, FarmError
from farm.images import Pixels
from farm.plan import arm_sources, method_defects

NORMALS = 256  # at most, evenly spaced: what a fit holds in memory


@dataclass(frozen=True)
class Shots:
    """N defects to learn from and M defect-free photographs; never one of the test split."""

    images: Pixels  # (N, S, S, 3) sRGB
    masks: Pixels  # (N, S, S) in {0, 1}, none of them empty
    defects: tuple[str, ...]  # (N,) names in ``run.prompts.defects``
    prompts: tuple[str, ...]  # (N,) the text of each one's defect
    ids: tuple[str, ...]  # (N,) photo ids
    normals: Pixels  # (M, S, S, 3)
    problems: tuple[str, ...]  # what was left out, and why


def load_shots(run: Run, photos: PhotoSet, method: MethodConfig) -> Shots:
    """Read the shots whose defect ``method`` makes, and the normals that ``method`` paints on.

    A shot that has no mask or cannot be read is left out and said in ``problems``.
    Raises ``DataError`` where nothing is left to learn from, with what was found.
    """
    texts = {defect.name: defect.prompt for defect in method_defects(run, method)}
    wanted = [shot for shot in photos.shots if defect_name(shot.defect or "") in texts]
    problems: list[str] = []
    read = [(shot, *pair) for shot in wanted for pair in [_read(run, shot, problems)] if pair is not None]
    if not read:
        raise DataError(_nothing(run, photos, texts, problems))
    names = tuple(defect_name(shot.defect or "") for shot, _, _ in read)
    return Shots(
        images=np.stack([image for _, image, _ in read]),
        masks=np.stack([mask for _, _, mask in read]),
        defects=names,
        prompts=tuple(texts[name] for name in names),
        ids=tuple(shot.photo_id for shot, _, _ in read),
        normals=_normals(run, arm_sources(arm_sources(photos.train, method.sources), NORMALS), problems),
        problems=tuple(problems),
    )


def turned(images: Pixels, flips: Sequence[str]) -> list[Pixels]:
    """``images`` (N, S, S, ...) in every position that ``flips`` lead to, each once; the first is as given."""
    across = (False, True) if "horizontal" in flips else (False,)
    down = (False, True) if "vertical" in flips else (False,)
    turns = range(4) if "quarter_turns" in flips else range(1)

    def turn(x: Pixels, quarter: int, left: bool, up: bool) -> Pixels:
        x = np.rot90(x, quarter, axes=(1, 2))
        return x[:, :: -1 if up else 1, :: -1 if left else 1]

    ways = [(quarter, left, up) for quarter in turns for left in across for up in down]
    distinct: dict[bytes, tuple[int, bool, bool]] = {}
    for way in ways:
        distinct.setdefault(turn(np.arange(4, dtype=np.uint8).reshape(1, 2, 2), *way).tobytes(), way)
    return [np.ascontiguousarray(turn(images, *way)) for way in distinct.values()]


def _read(run: Run, shot: ShotPhoto, problems: list[str]) -> tuple[Pixels, Pixels] | None:
    try:
        image = read_photo(shot, run.size_px, run.data.max_megapixels)
        return image, read_mask(shot, run.size_px, run.data.max_megapixels)
    except (FarmError, OSError) as error:
        problems.append(f"{shot.relative}: {error}")
        return None


def _normals(run: Run, photos: Sequence[TrainPhoto], problems: list[str]) -> Pixels:
    made = []
    for photo in photos:
        try:
            made.append(read_photo(photo, run.size_px, run.data.max_megapixels))
        except (FarmError, OSError) as error:
            problems.append(f"{photo.relative}: {error}")
    return np.stack(made) if made else np.zeros((0, run.size_px, run.size_px, 3), np.uint8)


def _nothing(run: Run, photos: PhotoSet, texts: dict[str, str], problems: list[str]) -> str:
    counts = Counter(shot.defect for shot in photos.shots)
    found = ", ".join(f"{count} of '{name}'" for name, count in sorted(counts.items(), key=str)) or "none at all"
    lines = [
        f"{run.data.category}: no few-shot photograph to learn from; found {found}; wanted {', '.join(sorted(texts))} "
        "with masks. Name the defects in prompts.defects as their folders, and give data.few_shot a list or 'third'",
        *(f"  {problem}" for problem in problems[:20]),
    ]
    return "\n".join(lines)
