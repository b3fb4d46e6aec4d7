"""A detector by its place: a detector's folder, a run folder, or an export."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from farm.detector.checkpoint import CARD, WEIGHTS
from farm.detector.export import FILES, load_export
from farm.detector.predict import Detect, Detector, in_batches
from farm.errors import RunError
from farm.store import Store

RUN, LAST_STAGE = "run.yaml", "detectors/stage2"
ENDINGS = tuple(Path(file).suffix for file in FILES.values())


@dataclass(frozen=True)
class Opened:
    """What can score photographs of ``size_px`` x ``size_px``."""

    detect: Detect
    size_px: int
    threshold: float | None  # a score of at least this is a defect; None = no validation set chose one


def open_detector(place: str, batch_size: int = 8, device: str = "cpu") -> Opened:
    """The detector at ``place`` (path or URL); of a run folder, that of stage 2.

    Raises ``RunError`` where there is none, ``WeightsError`` where it is damaged.
    """
    store, file = _folder(place)
    card = read_card(store)
    if file is not None or "format" in card:
        detect = _export(store, file, card, batch_size, device)
    else:
        detect = Detector.load(store.root, batch_size, device)
    threshold = card.get("threshold")
    return Opened(detect, int(card["size_px"]), None if threshold is None else float(threshold))


def open_trained(place: str) -> tuple[Detector, dict[str, Any], str]:
    """The trained detector at ``place``, a detector's folder or a run folder, its card and its folder."""
    store, file = _folder(place)
    if file is not None or not store.exists(WEIGHTS):
        raise RunError(f"{place}: holds no {WEIGHTS}; give the folder of a trained detector, or of a run")
    return Detector.load(store.root), read_card(store), store.root


def read_card(store: Store) -> dict[str, Any]:
    """The card of the detector in ``store``; ``RunError`` where there is none that says what it takes."""
    if not store.exists(CARD):
        raise RunError(f"{store.root}: holds no {CARD}; give a run folder, a detector's folder or an exported model")
    try:
        card = json.loads(store.read(CARD))
        int(card["size_px"])
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(f"{store.url(CARD)}: says no size_px ({error!r}); train or export the detector again") from error
    return dict(card)


def _folder(place: str) -> tuple[Store, str | None]:
    """The folder with the card, and the name of the exported model where ``place`` is one."""
    name = place.rpartition("/")[2]
    if name.endswith(ENDINGS):
        return Store(place[: -len(name)] or "."), name
    store = Store(place)
    if not store.exists(RUN):
        return store, None
    if not store.exists(f"{LAST_STAGE}/{CARD}"):
        raise RunError(f"{store.root}: stage 2 has no detector yet; run 'farm train' on its config first")
    return Store(store.url(LAST_STAGE)), None


def _export(store: Store, file: str | None, card: dict[str, Any], batch_size: int, device: str) -> Detect:
    told = next((name for to, name in FILES.items() if to == card.get("format")), None)
    if told is None or file not in (None, told):
        raise RunError(f"{store.url(CARD)}: is the card of {told or 'none'}, not of {file}; give each its own folder")
    data = store.read(told)
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise RunError(f"{store.url(told)}: is not what its {CARD} says; export the detector again")
    return partial(in_batches, load_export(data, card["format"], store.url(told), device), batch_size=batch_size)
