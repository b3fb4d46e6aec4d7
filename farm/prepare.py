"""Opening a run folder for a config: the first time it is written, later it is held against what is there."""

from typing import Any

from farm import provenance
from farm.config import Run
from farm.datasets import load_photos
from farm.datasets.photo import PhotoSet
from farm.diffusion.weights import fingerprint as model_fingerprint
from farm.embedders.weights import weights_fingerprint
from farm.errors import RunError
from farm.fitting.adapters import adapter_sums, hold_adapters
from farm.ids import fingerprint
from farm.lease import read_lease
from farm.plan import Plan, plan_fingerprint
from farm.rounds import open_plan
from farm.run_folder import RunFolder
from farm.source_index import read_index, write_index

MODEL_FREE = ("rules", "null")
JUDGE_VERSION = 3  # raised when other verdicts come from the same candidates and settings
_ADAPTER = "adapter "  # before the arm's name in the fingerprints


def prepare(run: Run) -> tuple[RunFolder, Plan]:
    """Read the photographs, settle fingerprints, write or check run.yaml and the source index.

    Raises ``RunError`` where the folder belongs to another config, naming each setting that differs.
    """
    folder = RunFolder(run.output)
    photos = load_photos(run.data)
    prints = fingerprints(run, photos)
    plan = open_plan(folder, run, photos, prints["model"])
    if folder.store.exists("run.yaml"):
        _check(folder, run, prints)
        if (
            folder.fingerprints() == prints
            and read_index(folder).fingerprint == photos.fingerprint
            and folder.run() == run
        ):
            return folder, plan
    write_index(folder, photos)
    facts = {"versions": provenance.versions(), "commit": provenance.commit(), "hardware": provenance.hardware()}
    tree = {"config": run.model_dump(mode="json"), "fingerprints": prints, **facts}
    folder.write_settings(tree)
    return folder, plan


def fingerprints(run: Run, photos: PhotoSet) -> dict[str, str]:
    """The names of everything that decides a result: photographs, weights, plan, embedder, judge and training.

    A fitted arm adds ``adapter <arm>``, the checksum of its adapter, "" while it is not fitted. The plan does not know
    it, so that a plan can be made before a fit; verdicts and all after them do.
    """
    needs_model = any(method.kind not in MODEL_FREE for method in run.methods)
    model = model_fingerprint(run.model) if needs_model else "none"
    plan = plan_fingerprint(run, photos.fingerprint, model)
    weights = weights_fingerprint(run.embed)
    known = [weights] if weights else []
    embedder = fingerprint([run.embed.model_dump(mode="json"), photos.fingerprint, run.size_px, *known])
    prints = {
        "photos": photos.fingerprint,
        "model": model,
        "plan": plan,
        "layout": fingerprint({"rows": run.rows, "shard_rows": run.cluster.shard_rows}),
        "embedder": embedder,
        **{f"{_ADAPTER}{arm}": checksum for arm, checksum in adapter_sums(run).items()},
    }
    return {**prints, **judge_fingerprints(run, prints)}


def judge_fingerprints(run: Run, prints: dict[str, str]) -> dict[str, str]:
    """The names of what comes after images and vectors, whose ``prints`` are known: ``judge`` and ``train``."""
    adapters = settled_adapters(prints)
    made_by = [adapters] if adapters else []
    filtered = run.filter.model_dump(mode="json")
    judge = fingerprint([JUDGE_VERSION, prints["plan"], run.rows, prints["embedder"], filtered, *made_by])
    return {"judge": judge, "train": fingerprint([judge, run.train.model_dump(mode="json")])}


def settled_adapters(prints: dict[str, str]) -> dict[str, str]:
    """Of a folder's fingerprints, the checksum of each fitted arm's adapter."""
    return {name.removeprefix(_ADAPTER): value for name, value in prints.items() if name.startswith(_ADAPTER)}


def _check(folder: RunFolder, run: Run, prints: dict[str, str]) -> None:
    old, before = folder.settings(), folder.fingerprints()
    if all(before.get(name) == prints[name] for name in ("plan", "layout", "embedder")):
        if folder.done_shards():
            hold_adapters(folder.store.root, settled_adapters(before), settled_adapters(prints))
        return
    if not folder.done_shards() and read_lease(folder.store) is None:
        return  # fitted at most: nothing in it hangs on the plan yet
    lines = list(_differences(_decisive(old["config"]), _decisive(run.model_dump(mode="json")), ""))
    for name, what in (("photos", "the photographs in data.root"), ("model", "the weights of model.path")):
        if before[name] != prints[name]:
            lines.append(f"  {what}: now {prints[name]}, the folder was made with {before[name]}")
    if not lines and before["embedder"] != prints["embedder"]:
        lines.append("  the weights of embed.model: are not those that the folder's vectors were made with")
    raise RunError(
        f"{folder.store.root}: was made by another config; its images would not be these\n"
        + "\n".join(lines or ["  (settings are equal, but this version of the farm plans other rows)"])
        + "\nGive another output folder (--set output=...), or delete this one"
    )


def _decisive(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide a folder's images and vectors; all others may change between two runs of it."""
    free = ("name", "output", "max_failed_fraction", "filter", "train", "prices")
    kept = {key: value for key, value in config.items() if key not in free}
    kept["data"] = {key: value for key, value in config["data"].items() if key != "root"}
    kept["cluster"] = {"shard_rows": config["cluster"]["shard_rows"]}
    return kept


def _differences(old: Any, new: Any, place: str) -> list[str]:
    """One line for each setting that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys([*old, *new])
        return [line for key in keys for line in _differences(old.get(key), new.get(key), f"{place}{key}.")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [line for index, (a, b) in pairs for line in _differences(a, b, f"{place}{index}.")]
    if old == new:
        return []
    return [f"  {place.rstrip('.')}: now {new!r}, the folder was made with {old!r}"]
