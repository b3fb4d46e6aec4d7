"""Cards of samples and of test photographs, as the template shows them: strings and pictures, nothing to compute."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from farm.parts import to_batch
from farm.report.choice import choose_photos, choose_samples, wrongness
from farm.report.inputs import OUTCOMES, REFUSED, STAGES, Inputs, local_file
from farm.report.pictures import Picture, heat, label_area, photograph, photograph_file, target_outline
from farm.rows import MADE, Batch

_PICTURES = ("source_png", "mask_png", "image_png", "label_png")


@dataclass(frozen=True)
class Panel:
    """One picture of a card. ``under`` is the place among the panels of the photograph that lies below an overlay."""

    caption: str
    alt: str
    picture: Picture | None
    under: int | None = None


@dataclass(frozen=True)
class Card:
    """A sample: ``keys`` are what filters and sorting use, ``facts`` what is written out, in order."""

    keys: dict[str, str]
    panels: tuple[Panel, ...]
    numbers: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    error: str


@dataclass(frozen=True)
class PhotoCard:
    """A test photograph with its heat maps; ``miss`` says in words how wrong its score is."""

    name: str
    defect: str
    defective: bool
    panels: tuple[Panel, ...]
    scores: tuple[tuple[str, str], ...]
    miss: str
    wrong: bool


def sample_cards(inputs: Inputs, limit: int) -> list[Card]:
    """At most ``limit`` cards, balanced over verdict, method and defect; pictures are read shard by shard."""
    chosen = choose_samples(inputs.samples, limit)
    pictures = _pictures(inputs, {int(inputs.samples["row"][position]) for position in chosen})
    return [_card(inputs, _record(inputs.samples, position), pictures) for position in chosen]


def choices(cards: Iterable[Card], key: str) -> list[tuple[str, int]]:
    """(value, cards that have it) for one filter: verdicts from kept to failed, others by alphabet, no empty value."""
    counts = sorted(Counter(card.keys[key] for card in cards).items())
    counts.sort(key=lambda item: OUTCOMES.index(item[0]) if item[0] in OUTCOMES else len(OUTCOMES))
    return [(value, count) for value, count in counts if value]


def photo_cards(inputs: Inputs, limit: int) -> list[PhotoCard]:
    """At most ``limit`` test photographs, the worst misses of the last evaluated stage first."""
    if not inputs.scores:
        return []
    stage, last = list(inputs.scores.items())[-1]
    wrong = wrongness(last["score"], last["label"])
    chosen = choose_photos(last["score"], last["label"], limit)
    return [_photo_card(inputs, stage, _record(last, position), int(wrong[position])) for position in chosen]


def _record(batch: Batch, position: int) -> dict[str, Any]:
    return {name: values[position] for name, values in batch.items()}


def _pictures(inputs: Inputs, wanted: set[int]) -> dict[int, dict[str, bytes]]:
    found: dict[int, dict[str, bytes]] = {}
    run = inputs.run
    for shard in sorted({row // run.cluster.shard_rows for row in wanted}):
        table = to_batch(inputs.folder.read_shard(shard, ["row", *_PICTURES]))
        for position, row in enumerate(table["row"]):
            if int(row) in wanted:
                found[int(row)] = {name: table[name][position] or b"" for name in _PICTURES}
    return found


def _card(inputs: Inputs, sample: dict[str, Any], pictures: dict[int, dict[str, bytes]]) -> Card:
    keys = {name: str(sample[name]) for name in ("method", "defect", "outcome", "recipe")}
    keys["reason"] = str(sample["reason"]) if sample["outcome"] == REFUSED else ""  # a failed row's is its error
    made = sample["status"] == MADE  # a failed row's numbers are zeros, not measurements
    keys |= {name: _sortable(sample[name]) if made else "" for name in ("score", "changed_area")}
    return Card(
        keys=keys,
        panels=_panels(inputs, sample, pictures[int(sample["row"])]),
        numbers=_numbers(sample),
        facts=_facts(inputs, sample),
        error=str(sample["error"]),
    )


def _panels(inputs: Inputs, sample: dict[str, Any], encoded: dict[str, bytes]) -> tuple[Panel, ...]:
    what = f"{sample['defect']} by {sample['method']}"
    source, image = photograph(encoded["source_png"]), photograph(encoded["image_png"])
    panels = [Panel("source", f"defect-free photograph {sample['source_id']}", source)]
    if source:
        target = target_outline(encoded["mask_png"], (source.width, source.height))
        panels.append(Panel("target", f"outline of the area where {what} was asked for", target, 0))
    if image:
        size, place = (image.width, image.height), len(panels)
        panels.append(Panel("image", f"synthetic photograph: {what}", image))
        panels.append(Panel("label", f"pixels labelled as {what}", label_area(encoded["label_png"], size), place))
        hot = _heat_of_sample(inputs, str(sample["sample_id"]), size)
        panels += [Panel("heat map", f"where the detector sees a defect in {what}", hot, place)] if hot else []
    return tuple(panels)


def _heat_of_sample(inputs: Inputs, sample_id: str, size: tuple[int, int]) -> Picture | None:
    for stage in reversed(STAGES):
        name = f"evaluation/{stage}/samples/{sample_id}.png"
        if inputs.folder.store.exists(name):
            return heat(inputs.folder.store.read(name), size)
    return None


def _numbers(sample: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if sample["status"] != MADE:
        return ()
    return (
        ("score", _number(sample["score"], ".3f")),
        ("changed", _number(sample["changed_area"], ".2%")),
        ("SSIM outside", _number(sample["ssim_outside"], ".3f")),
        ("background error", _number(sample["background_error"], ".2f")),
    )


def _facts(inputs: Inputs, sample: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    photo = inputs.photos.get(str(sample["source_id"]), {})
    nearest = inputs.photos.get(str(sample["nearest"]), {})
    twin = inputs.photos.get(str(sample["twin"]), {})
    neighbour = int(sample["neighbour"])
    facts = (
        ("sample", str(sample["sample_id"])),
        ("row", str(sample["row"])),
        ("seed", str(sample["seed"])),
        ("recipe", str(sample["recipe"])),
        ("mask", str(sample["mask_kind"])),
        ("prompt", str(sample["prompt"])),
        ("background prompt", str(sample["normal_prompt"])),
        ("source", str(photo.get("relative") or sample["source_id"])),
        ("nearest normal", str(nearest.get("relative") or sample["nearest"])),
        ("duplicate of row", str(neighbour) if neighbour >= 0 else ""),
        ("copy of photograph", str(twin.get("relative") or sample["twin"])),
        ("mean change", "" if sample["status"] != MADE else f"{_number(sample['mean_change'], '.2f')} of 255"),
        ("network evaluations", str(sample["evaluations"])),
        ("objection", str(sample["objection"])),
    )
    return tuple((name, text) for name, text in facts if text)


def _number(value: Any, how: str) -> str:
    return format(float(value), how) if math.isfinite(value) else "not computed"


def _sortable(value: Any) -> str:
    return f"{float(value):.6f}" if math.isfinite(value) else ""


def _photo_card(inputs: Inputs, stage: str, photo: dict[str, Any], wrong: int) -> PhotoCard:
    labels = inputs.scores[stage]["label"].astype(int)
    defective = int(photo["label"]) > 0
    others = int((labels == 0).sum() if defective else (labels > 0).sum())
    side = "good photographs score as high" if defective else "defective photographs score as low"
    return PhotoCard(
        name=str(photo["relative"]),
        defect=str(photo["defect"]) if defective else "good",
        defective=defective,
        panels=_photo_panels(inputs, photo),
        scores=tuple((STAGES[name], _score_in(inputs.scores[name], photo)) for name in inputs.scores),
        miss=f"{wrong} of {others} {side}",
        wrong=wrong > 0,
    )


def _photo_panels(inputs: Inputs, photo: dict[str, Any]) -> tuple[Panel, ...]:
    path = local_file(str(photo["path"]))
    picture = photograph_file(path, inputs.run.data.max_megapixels) if path else None
    size = (picture.width, picture.height) if picture else (128, 128)
    name = str(photo["relative"])
    panels = [Panel("photograph", f"test photograph {name}", picture)]
    mask = local_file(str(inputs.photos.get(str(photo["photo_id"]), {}).get("mask_path") or ""))
    if mask and picture:
        panels.append(
            Panel("truth", f"outline of the real defect of {name}", target_outline(mask.read_bytes(), size), 0)
        )
    for stage in inputs.scores:
        file = f"evaluation/{stage}/maps/{photo['photo_id']}.png"
        if inputs.folder.store.exists(file):
            hot = heat(inputs.folder.store.read(file), size)
            panels.append(Panel(STAGES[stage], f"{STAGES[stage]} heat map of {name}", hot, 0 if picture else None))
    return tuple(panels)


def _score_in(scores: Batch, photo: dict[str, Any]) -> str:
    found = scores["score"][scores["photo_id"] == photo["photo_id"]]
    return format(float(np.asarray(found)[0]), ".3f") if len(found) else "not scored"
