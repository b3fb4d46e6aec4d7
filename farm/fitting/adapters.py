"""Fitted adapters on disk: ``adapter.safetensors`` and, written last, ``card.json`` with its checksum.

The card says what was fitted on what: a base model's fingerprint, so that an adapter is never put on another one;
the photographs' fingerprint and licence; the settings. No torch here before a tensor is read or written.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from farm.config import AdaBldmConfig, BackgroundAwareConfig, DualConfig, MethodConfig, Run
from farm.datasets.photo import PhotoSet
from farm.diffusion.weights import fingerprint
from farm.errors import RunError, WeightsError
from farm.store import Store, json_bytes

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "adapter.safetensors"
CARD = "card.json"
Fittable = BackgroundAwareConfig | AdaBldmConfig | DualConfig  # the methods that learn


def is_fitted(method: MethodConfig) -> bool:
    """Whether the settings ask for an adapter, the run's own or one from elsewhere."""
    return isinstance(method, Fittable) and (method.fit is not None or method.adapter is not None)


def fitted_arms(run: Run) -> dict[str, Fittable]:
    """The arms that a fit of ``run`` trains: those with ``fit`` and without an adapter from elsewhere."""
    arms = zip(run.arm_names(), run.methods, strict=True)
    return {
        name: method
        for name, method in arms
        if isinstance(method, Fittable) and method.fit is not None and method.adapter is None
    }


def adapter_url(run: Run, method: MethodConfig) -> str:
    """Where the adapter of an arm is: ``method.adapter``, else the arm's own folder in the run."""
    if isinstance(method, Fittable) and method.adapter is not None:
        return method.adapter
    return own_adapter(run, method.name or method.kind)


def own_adapter(run: Run, arm: str) -> str:
    """The folder in the run where a fit of ``arm`` leaves its adapter."""
    return Store(run.output).url(f"adapters/{arm}")


def fit_facts(run: Run, photos: PhotoSet, arm: str) -> dict[str, Any]:
    """What decides the adapter of ``arm``: base model, photographs, texts and settings; its card has the same."""
    method = fitted_arms(run)[arm]
    assert method.fit is not None
    return {
        "kind": method.kind,
        "base": fingerprint(run.model),
        "photographs": photos.fingerprint,
        "settings": method.fit.model_dump(mode="json"),
        "prompts": run.prompts.model_dump(mode="json"),
        "size_px": run.size_px,
        "seed": run.seed,
    }


def is_current(run: Run, photos: PhotoSet, arm: str) -> bool:
    """Whether the run has the adapter of ``arm`` that a fit would make now."""
    card = read_card(own_adapter(run, arm))
    if card is None:
        return False
    known = {**card, "base": card["base"].get("fingerprint")}
    return all(known.get(name) == value for name, value in fit_facts(run, photos, arm).items())


def write_adapter(url: str, tensors: Mapping[str, "Tensor"], card: Mapping[str, Any]) -> dict[str, Any]:
    """Write an adapter, its card last; returns the card with ``sha256`` and ``bytes`` of the tensors in it."""
    from safetensors.torch import save

    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())})
    whole = {**card, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    store = Store(url)
    store.write(WEIGHTS, data)
    store.write(CARD, json_bytes(whole))
    return whole


def read_adapter(
    url: str, kind: str, base: str, settings: Mapping[str, Any] | None = None
) -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Tensors and card of the adapter at ``url``, for the method ``kind`` on the model with fingerprint ``base``.

    Raises ``WeightsError`` where it is absent, damaged, of another method, fitted on another base model, or, where
    ``settings`` are given, fitted with others.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = read_card(url)
    if card is None:
        raise WeightsError(
            f"{url}: holds no adapter (no {CARD}). Run 'farm fit CONFIG' first, or give the folder of a fitted one as "
            "the method's 'adapter'"
        )
    _hold(url, card, kind, base, settings)
    try:
        data = Store(url).read(WEIGHTS)
        tensors: dict[str, Tensor] = load(data) if hashlib.sha256(data).hexdigest() == card["sha256"] else {}
    except (RunError, SafetensorError) as error:
        raise WeightsError(f"{url}/{WEIGHTS}: cannot be read: {error}. Run 'farm fit CONFIG' again") from error
    if not tensors:
        raise WeightsError(
            f"{url}/{WEIGHTS}: is damaged, its checksum is not the one in {CARD}. Run 'farm fit CONFIG' again"
        )
    return tensors, card


def read_card(url: str) -> dict[str, Any] | None:
    """The card of the adapter at ``url``; None where there is none. ``WeightsError`` where it is no card."""
    store = Store(url)
    if not store.exists(CARD):
        return None
    try:
        card = json.loads(store.read(CARD))
        return {**card, "kind": str(card["kind"]), "sha256": str(card["sha256"]), "base": dict(card["base"])}
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{url}/{CARD}: is not the card of an adapter ({error!r}). Run 'farm fit' again") from error


def adapter_sums(run: Run) -> dict[str, str]:
    """Checksum of the adapter of each fitted arm; "" where it is not there yet."""
    arms = zip(run.arm_names(), run.methods, strict=True)
    cards = {name: read_card(adapter_url(run, method)) for name, method in arms if is_fitted(method)}
    return {name: "" if card is None else card["sha256"] for name, card in cards.items()}


def hold_adapters(where: str, settled: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Raise ``RunError`` where an arm's adapter is not the one that run folder ``where`` settled on."""
    lines = [
        f"  {arm}: now {found.get(arm) or 'none'}, the folder was made with {settled.get(arm) or 'none'}"
        for arm in sorted(settled.keys() | found.keys())
        if settled.get(arm, "") != found.get(arm, "")
    ]
    if lines:
        raise RunError(
            f"{where}: its images were made with other adapters, and one folder never mixes two\n"
            + "\n".join(lines)
            + "\nPut the old adapter back, delete candidates/ to make all images anew, or give another output folder "
            "(--set output=...)"
        )


def _hold(url: str, card: dict[str, Any], kind: str, base: str, settings: Mapping[str, Any] | None) -> None:
    if card["kind"] != kind:
        raise WeightsError(
            f"{url}: is an adapter of method '{card['kind']}'; this one is '{kind}'. Give another folder"
        )
    if card["base"].get("fingerprint") != base:
        raise WeightsError(
            f"{url}: was fitted on base model {card['base'].get('path')} (fingerprint "
            f"{card['base'].get('fingerprint')}); this run's model has fingerprint {base}, and an adapter says nothing "
            "on another one. Set model.path back, or run 'farm fit CONFIG' on this model"
        )
    if settings is not None and card.get("settings") != settings:
        raise WeightsError(
            f"{url}: was fitted with other settings than the method's 'fit' has now. Run 'farm fit CONFIG' again, or "
            "name the folder as the method's 'adapter' to take it as it is"
        )
