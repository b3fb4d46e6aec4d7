"""Small synthetic run folders with every file a finished run has: real PNGs, kept, refused, failed rows, two stages."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from PIL import Image

from farm import rows as contract
from farm.config import Run, parse
from farm.ids import fingerprint, generator, row_seed, sample_id
from farm.metrics import image_metrics, pixel_metrics
from farm.parts import to_table
from farm.run_folder import RunFolder

REASONS = ("irrelevant", "near_duplicate", "area_too_small", "background_changed")
JUDGE = "judge-for-tests"


def make_run_folder(
    tmp_path: Path,
    rows: int = 24,
    *,
    size_px: int = 64,
    shard_rows: int = 10,
    shards: int | None = None,
    judged: bool = True,
    evaluated: bool = True,
    masks: bool = True,
    test_photos: int = 12,
    prompt: str = "a photograph of metal with a scratch",
    photo_name: str = "{:03d}.png",
    overrides: Mapping[str, Any] | None = None,
) -> RunFolder:
    """A run folder at ``tmp_path``/run. ``shards`` commits only so many, ``masks`` gives the test set pixel metrics.

    Row i is refused where i % 4 == 1 and failed where i % 8 == 7; ``prompt`` and ``photo_name`` (with a place for a
    number) may be hostile. The same arguments give the same bytes.
    """
    run = _run(tmp_path, rows, size_px, shard_rows, prompt, dict(overrides or {}))
    folder = RunFolder(run.output)
    _write_settings(folder, run)
    photos = _write_photos(tmp_path, folder, photo_name, size_px, test_photos, masks)
    plan = folder.fingerprints()["plan"]
    parts = [
        _rows(run, plan, range(start, min(start + shard_rows, rows)), photos) for start in range(0, rows, shard_rows)
    ]
    for shard, part in enumerate(parts[: len(parts) if shards is None else shards]):
        folder.write_shard(shard, to_table(part, contract.ENCODED), _marker(part, plan))
    if judged:
        _write_verdicts(folder, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, photos)
    if evaluated:
        _write_evaluation(folder, photos, size_px, masks)
        seconds = {"plan": 0.4, "invert": 41.0, "generate": 183.2, "judge": 3.1, "train stage1": 95.0, "evaluate": 12.7}
        phases = [{"name": name, "seconds": spent, "rows": rows} for name, spent in seconds.items()]
        folder.write_json("timing.json", {"phases": phases})
    return folder


def make_png(pixels: np.ndarray) -> bytes:
    """``pixels`` as PNG bytes."""
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def make_surface(seed: int, size_px: int) -> np.ndarray:
    """Brushed metal, (H, W, 3) uint8."""
    random = generator(seed, "surface")
    streaks = cv2.GaussianBlur(random.normal(0, 1, (size_px, size_px)), (0, 0), sigmaX=6, sigmaY=0.6)
    light = np.linspace(-12, 12, size_px)[None] * random.normal() + random.normal(0, 2, (size_px, size_px))
    grey = 138 + 34 * streaks / (streaks.std() + 1e-9) * 0.5 + light
    surface: np.ndarray = np.clip(grey[..., None] + np.array([-3, 0, 5]), 0, 255).astype(np.uint8)
    return surface


def make_mask(seed: int, size_px: int) -> np.ndarray:
    """A thin bent stroke or a spot, (H, W) uint8 in {0, 1}."""
    random = generator(seed, "mask")
    mask = np.zeros((size_px, size_px), np.uint8)
    points = (random.uniform(0.2, 0.8, (3, 2)) * size_px).astype(np.int32)
    if random.random() < 0.5:
        cv2.polylines(mask, [points[:, None]], False, 1, max(2, size_px // 24))
    else:
        cv2.circle(mask, tuple(int(value) for value in points[0]), max(3, size_px // 10), 1, -1)
    return mask


def make_defect(source: np.ndarray, mask: np.ndarray, depth: float) -> np.ndarray:
    """``source`` darkened by ``depth`` (0 to 255) inside ``mask``, softly."""
    soft = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 0.8)[..., None]
    image: np.ndarray = np.clip(source - depth * soft, 0, 255).astype(np.uint8)
    return image


def _run(tmp_path: Path, rows: int, size_px: int, shard_rows: int, prompt: str, overrides: dict[str, Any]) -> Run:
    names = ("scratch", "dent", "stain")
    tree: dict[str, Any] = {
        "name": "factory",
        "output": str(tmp_path / "run"),
        "rows": rows,
        "size_px": size_px,
        "data": {"kind": "folder", "root": str(tmp_path / "photos"), "category": "metal"},
        "prompts": {
            "normal": "a photograph of metal",
            "defects": [{"name": name, "prompt": prompt.replace("scratch", name)} for name in names],
        },
        "methods": [{"kind": "rules"}, {"kind": "background_aware"}],
        "cluster": {"shard_rows": shard_rows},
    }
    return parse(tree | overrides, "factory")


def _write_settings(folder: RunFolder, run: Run) -> None:
    import yaml

    prints = {name: fingerprint([name, run.name]) for name in ("plan", "model", "photos", "embedder")}
    settings = {
        "config": run.model_dump(mode="json"),
        "fingerprints": {**prints, "judge": JUDGE},
        "versions": {"python": "3.11.7", "torch": "2.15.0", "ray": "2.60.0"},
        "commit": "0123456789abcdef",
        "hardware": {"machine": "x86_64", "cores": 2, "memory_gib": 7.8, "gpus": []},
    }
    folder.store.write("run.yaml", yaml.safe_dump(settings, sort_keys=False).encode())


def _write_photos(
    tmp_path: Path, folder: RunFolder, name: str, size_px: int, test: int, masks: bool
) -> list[dict[str, Any]]:
    """Eight training normals and ``test`` test photographs, half of them defective, as records of the source index."""
    photos: list[dict[str, Any]] = []
    for number in range(8 + test):
        split, defective = ("train", False) if number < 8 else ("test", number % 2 == 1)
        defect = ("scratch", "dent")[number // 2 % 2] if defective else "good"
        relative = f"{split}/{defect}/{name.format(number)}"
        pixels = make_surface(1000 + number, size_px)
        if defective:
            pixels = make_defect(pixels, make_mask(1000 + number, size_px), 20 + 8 * (number % 7))
        path = tmp_path / "photos" / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_png(pixels))
        photos.append({"photo_id": fingerprint(number), "relative": relative, "path": str(path), "split": split})
        photos[-1] |= {"category": "metal", "defect": defect, "sha256": "", "group": fingerprint(number // 2)}
        photos[-1] |= {"mask_path": _write_mask(tmp_path, relative, number, size_px) if defective and masks else None}
        photos[-1] |= {"licence": "CC0", "status": "used", "reason": "", "number": number}
    refused = dict.fromkeys(photos[0]) | {"relative": "train/good/broken.png", "split": "none", "status": "refused"}
    table = pa.Table.from_pylist([*photos, refused | {"reason": "cannot be decoded"}])
    folder.write_table("sources/index.parquet", table.drop_columns("number"))
    return photos


def _write_mask(tmp_path: Path, relative: str, number: int, size_px: int) -> str:
    path = tmp_path / "photos" / "ground_truth" / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(make_png(make_mask(1000 + number, size_px) * 255))
    return str(path)


def _rows(run: Run, plan: str, numbers: range, photos: list[dict[str, Any]]) -> contract.Batch:
    made = [_row(run, plan, number, photos[number % 8]) for number in numbers]
    batch: contract.Batch = {}
    for column in contract.ENCODED:
        if column.dtype in ("str", "bytes"):
            batch[column.name] = np.empty(len(made), object)
            batch[column.name][:] = [row[column.name] for row in made]
        else:
            batch[column.name] = np.array([row[column.name] for row in made], column.dtype)
    contract.check(batch, contract.ENCODED, "factory")
    return batch


def _row(run: Run, plan: str, number: int, photo: dict[str, Any]) -> dict[str, Any]:
    seed, failed = row_seed(plan, number), number % 8 == 7
    defect = run.prompts.defects[number % len(run.prompts.defects)]
    method = run.arm_names()[number // 8 % 2]
    source, mask = make_surface(1000 + photo["number"], run.size_px), make_mask(seed, run.size_px)
    image = make_defect(source, mask, 0 if number % 4 == 1 else 60)
    vector = generator(seed, "embedding").normal(size=8).astype(np.float32)
    planned = {"row": number, "sample_id": sample_id(plan, number), "seed": seed, "method": method}
    planned |= {"recipe": "scar" if method == "rules" else "", "category": "metal", "defect": defect.name}
    planned |= {
        "kind": "defect",
        "prompt": defect.prompt,
        "normal_prompt": run.prompts.normal,
        "source_id": photo["photo_id"],
    }
    change = np.abs(image.astype(float) - source).mean(axis=2)
    return {
        **planned,
        "mask_kind": "procedural",
        "status": "failed" if failed else "made",
        "error": "generate: the decoder returned values that are not numbers" if failed else "",
        "objection": "",
        "evaluations": 0 if method == "rules" else 40,
        "background_error": 0.0 if failed else 0.4,
        "mean_change": 0.0 if failed else change.mean(),
        "changed_area": 0.0 if failed else (change > 1).mean(),
        "ssim_outside": 0.0 if failed else 0.97,
        "grain": 0.0 if failed else 2.5,
        "source_png": make_png(source),
        "mask_png": make_png(mask * 255),
        "image_png": b"" if failed else make_png(image),
        "label_png": b"" if failed else make_png((change > 12).astype(np.uint8) * 255),
        "embedding": np.zeros(8, np.float32) if failed else vector / np.linalg.norm(vector),
        "crops": np.zeros(0, np.float32),
        "text_margin": 0.0 if failed else np.nan,
    }


def _marker(part: contract.Batch, plan: str) -> dict[str, Any]:
    methods, counts = np.unique(part["method"].astype(str), return_counts=True)
    each = {"rules": 0.02, "background_aware": 2.5}
    by_method = {
        name: {"rows": int(count), "seconds": each.get(name, 1.0) * int(count)}
        for name, count in zip(methods.tolist(), counts.tolist(), strict=True)
    }
    spent = sum(cost["seconds"] for cost in by_method.values())
    costs = {"generate_s": spent, "embed_s": 0.3, "write_s": 0.1, "by_method": by_method}
    first, made = int(part["row"][0]), int((part["status"] == "made").sum())
    counts = {"rows": len(part["row"]), "made": made, "failed": len(part["row"]) - made, "poisoned": 0}
    return {"first": first, "stop": first + len(part["row"]), **counts, "plan": plan, "costs": costs}


def _write_verdicts(folder: RunFolder, samples: contract.Batch, photos: list[dict[str, Any]]) -> None:
    numbers, failed = samples["row"].astype(int), samples["status"] == "failed"
    refused = ~failed & (numbers % 4 == 1)
    reason = np.array([REASONS[number // 4 % len(REASONS)] for number in numbers], object)
    score = np.array([generator(int(number), "score").normal(0.9, 0.02) for number in numbers])
    score = np.where(refused & (reason == "irrelevant"), 0.62, score)
    duplicate = refused & (reason == "near_duplicate")
    verdicts = {
        "row": samples["row"],
        "sample_id": samples["sample_id"],
        "keep": ~failed & ~refused,
        "verdict": np.where(failed, "failed", np.where(refused, "refused", "kept")).astype(object),
        "reason": np.where(failed, samples["error"], np.where(refused, reason, "")).astype(object),
        "score": np.where(failed, 0, score).astype(np.float32),
        "crop_score": np.full(len(numbers), np.nan, np.float32),
        "grid_score": np.full(len(numbers), np.nan, np.float32),
        "nearest": np.array(["" if bad else photos[0]["photo_id"] for bad in failed], object),
        "neighbour": np.where(duplicate, 0, -1).astype(np.int64),
        "twin": np.array([""] * len(numbers), object),
    }
    folder.write_table(folder.verdict_name("verdicts.parquet"), to_table(verdicts, contract.VERDICT))
    folder.write_json(folder.verdict_name("calibration.json"), {"low": 0.7, "high": 0.955, "n": 8, "neighbours": 5})
    groups = [("rules", "scar"), ("background_aware", "")]
    ledger = [
        {"method": method, "recipe": recipe, "category": "metal", "defect": "scratch", "attempts": int(chosen.sum())}
        | {"kept": int((chosen & verdicts["keep"]).sum()), "reasons": "{}", "device_s_per_kept": 0.5}
        for method, recipe in groups
        for chosen in [(samples["method"] == method) & (samples["defect"] == "scratch")]
    ]
    folder.write_table("ledger.parquet", pa.Table.from_pylist(ledger))


def _write_evaluation(folder: RunFolder, photos: list[dict[str, Any]], size_px: int, masks: bool) -> None:
    """Scores and heat maps of two stages; the second finds more of each defect."""
    test = [photo for photo in photos if photo["split"] == "test"]
    labels = np.array([photo["defect"] != "good" for photo in test], np.int64)
    truth = np.stack([make_mask(1000 + photo["number"], size_px) for photo in test]) * labels[:, None, None]
    found: dict[str, dict[str, Any]] = {}
    for stage, strength in (("stage1", 0.1), ("stage2", 0.6)):
        random = generator(len(test), stage)
        noise = np.stack([cv2.GaussianBlur(random.random((size_px, size_px)), (0, 0), 4) for _ in test])
        maps = np.clip(
            0.25 * (noise / noise.max()) ** 2 + strength * random.random(len(test))[:, None, None] * truth, 0, 1
        )
        scores = maps.max(axis=(1, 2))
        for photo, one in zip(test, maps, strict=True):
            folder.store.write(
                f"evaluation/{stage}/maps/{photo['photo_id']}.png", make_png((one * 255).astype(np.uint8))
            )
        columns = {name: [photo[name] for photo in test] for name in ("photo_id", "relative", "path", "defect")}
        folder.write_table(
            f"evaluation/{stage}/scores.parquet", pa.table({**columns, "label": labels, "score": scores})
        )
        found[stage] = {**image_metrics(scores, labels), **(pixel_metrics(maps, truth) if masks else {})}
        found[stage] |= {"n_good": int((labels == 0).sum()), "n_defect": int(labels.sum()), "by_defect": {}}
        for defect in ("dent", "scratch"):
            chosen = np.array([photo["defect"] in ("good", defect) for photo in test])
            found[stage]["by_defect"][defect] = image_metrics(scores[chosen], labels[chosen])
    folder.write_json("metrics.json", found)
