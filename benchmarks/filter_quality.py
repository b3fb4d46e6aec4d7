"""Does the filter refuse junk and keep good images?   python benchmarks/filter_quality.py --data FOLDER

FOLDER holds bsdata_pitting/ and magnetic_tile/; the settings are those of configs/bsdata.yaml and magnetic_tile.yaml.
Normals and few-shot photographs are split in two: half calibrate, of the other half the samples are made, so that
neither the source of a sample nor the defect on it is known to the judge.

    good    real defects, the pixels of a few-shot photograph inside its own mask laid over another normal
    noise   random pixels inside the mask, and over the whole image
    other   photographs of the other data set, and of textile
    failed  what the embedded autoencoder makes of random latents, over the whole image and inside the mask's box
    copy    the normal as it is, and the normal stored as JPEG
    jitter  normals with gain, shift and sensor noise, judged as generated normals: they must pass

precision: of the refused, the share that is junk; recall: of the junk, the share that is refused. Good and junk are as
many as there are of the smaller, so precision does not hang on how much junk was made. ``low`` and ``high`` are the
95 % interval (Wilson). Writes results/filter_quality.json. Bars: precision 0.99, recall 0.95, jitter passes 0.95.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from farm.config import Run, load
from farm.crop_index import PhotoCrops
from farm.crops import cut, defect_window, grid_windows, reference_windows
from farm.datasets import load_photos, read_mask, read_photo
from farm.datasets.photo import Photo, PhotoSet
from farm.embedders import Embedder, load_embedder
from farm.facts import grain, pixel_facts
from farm.ids import generator
from farm.images import encode_mask, encode_png
from farm.ledger import acceptance_interval
from farm.rows import JUDGED, MADE
from farm.stages.embed import Embed
from farm.stages.judge import Judge
from farm.stages.photo_vectors import CROP_NORMALS, REFERENCES

SETS = {"bsdata": "bsdata_pitting", "magnetic_tile": "magnetic_tile"}
EACH, MOST_NORMALS = 60, 240
BARS = {"precision": 0.99, "recall": 0.95, "jitter_passes": 0.95}
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Samples = tuple[Pixels, Pixels, Pixels]  # source, mask, image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="a setting of both configs")
    given = parser.parse_args()
    runs = {
        name: load(_report.ROOT / f"configs/{name}.yaml", [f"data.root={given.data / folder}", *given.overrides])
        for name, folder in SETS.items()
    }
    photos = {name: load_photos(run.data) for name, run in runs.items()}
    figures: dict[str, _report.Figure] = {}
    count = 0
    for name, run in runs.items():
        other = next(key for key in SETS if key != name)
        made, judged = measure(run, photos[name], (runs[other], photos[other]))
        figures |= {f"{name}.{key}": figure for key, figure in made.items()}
        count += judged
    _report.write("filter_quality", figures, n=count)
    missed = []
    for key, figure in figures.items():
        print(f"{key}: {figure['value']} ({figure['low']} to {figure['high']})")
        bar = BARS.get(key.partition(".")[2])
        if bar is not None and figure["value"] < bar:
            missed.append(f"{key} is below {bar}")
    print(f"FAIL: {'; '.join(missed)}" if missed else "PASS")
    return 1 if missed else 0


def measure(run: Run, photos: PhotoSet, other: tuple[Run, PhotoSet]) -> tuple[dict[str, _report.Figure], int]:
    """The figures of one data set, and how many samples were judged."""
    normals = photos.train[:: max(1, len(photos.train) // MOST_NORMALS)][:MOST_NORMALS]
    held, used = normals[::2], normals[1::2]
    embedder = load_embedder(run.embed, run.compute)
    sources, known = read(run, used), read(run, held)
    shots = defects(run, photos)
    ids = [photo.photo_id for photo in held]
    judge = Judge(
        run.filter,
        (ids, embedder(known)),
        crops=windows(run, embedder, known, shots[::2]),
        grains=[grain(image, mask > 0) for image, mask in shots[::2]],
    )
    samples = {"good": good(run, shots[1::2], sources), **junk(run, shots[1::2], sources, other)}
    verdicts = {kind: reasons(judge, embedder, run, found) for kind, found in samples.items()}
    jittered = jitter(sources)
    passes = [not reason for reason in reasons(judge, embedder, run, (sources, zeros(sources), jittered), "normal")]
    refused = {kind: sum(map(bool, found)) for kind, found in verdicts.items()}
    bad = sum(count for kind, count in refused.items() if kind != "good")
    of_bad = sum(len(found) for kind, found in verdicts.items() if kind != "good")
    wrongly = refused["good"] / len(verdicts["good"]) * of_bad  # as many good as junk
    figures = {
        "recall": share(bad, of_bad),
        "precision": share(bad, bad + wrongly),
        "jitter_passes": share(sum(passes), len(passes)),
        **{f"refused.{kind}": share(count, len(verdicts[kind])) for kind, count in refused.items()},
    }
    for kind, found in verdicts.items():
        print(f"{run.name} {kind}: {dict(Counter(found).most_common())}", flush=True)
    return figures, sum(map(len, verdicts.values())) + len(passes)


def defects(run: Run, photos: PhotoSet) -> list[tuple[Pixels, Pixels]]:
    """(image, mask) of the few-shot photographs whose defect is neither a speck nor the whole part."""
    found = []
    for photo in photos.shots:
        if photo.mask_path:
            mask = read_mask(photo, run.size_px, run.data.max_megapixels)
            if 0.0005 < mask.mean() < 0.3:
                found.append((read_photo(photo, run.size_px, run.data.max_megapixels), mask))
    return found


def windows(run: Run, embedder: Embedder, normals: Pixels, shots: list[tuple[Pixels, Pixels]]) -> PhotoCrops | None:
    """What ``farm.stages.photo_vectors`` stores of these photographs."""
    if run.embed.crops == "none":
        return None
    cut_up = normals[np.linspace(0, len(normals) - 1, min(len(normals), CROP_NORMALS)).round().astype(int)]
    shape, grid = normals.shape[1:3], run.embed.crops == "grid"
    asked = reference_windows(shape) + (grid_windows(shape) if grid else [])
    vectors = embedder(np.concatenate([cut(image, asked) for image in cut_up])).reshape(len(cut_up), len(asked), -1)
    of_shots = embedder(np.concatenate([cut(image, [defect_window(mask)]) for image, mask in shots]))
    return PhotoCrops(vectors[:, :REFERENCES], vectors[:, REFERENCES:], of_shots)


def share(part: float, whole: float) -> _report.Figure:
    """A share with its interval."""
    low, high = acceptance_interval(round(part), round(whole))
    return {"value": round(part / whole, 4), "unit": "1", "low": round(low, 4), "high": round(high, 4)}


def reasons(judge: Judge, embedder: Embedder, run: Run, samples: Samples, kind: str = "defect") -> list[str]:
    """Why each sample is refused, empty where it is kept."""
    source, mask, image = samples
    count = len(image)
    words = {"kind": kind, "status": MADE, "error": "", "objection": "", "category": run.data.category}
    given: dict[str, Any] = {
        column.name: np.array([words.get(column.name, "x")] * count, object)
        for column in JUDGED
        if column.dtype == "str"
    }
    given |= {
        "row": np.arange(count, dtype=np.int64),
        "seed": np.arange(count, dtype=np.int64),
        "evaluations": np.zeros(count, np.int32),
        "background_error": np.zeros(count, np.float32),
        "image_png": column_of(encode_png(one) for one in image),
        "label_png": column_of(encode_mask(one) for one in mask),
        **pixel_facts(source, image, mask),
    }
    given |= Embed(embedder, run.embed).rows(given, run.compute.batch_size)
    return [str(reason) for reason in judge.judge(given)["reason"]]


def column_of(values: Iterable[bytes]) -> Any:
    """A column of byte strings."""
    return np.array([*values, None], object)[:-1]


def good(run: Run, shots: list[tuple[Pixels, Pixels]], sources: Pixels) -> Samples:
    """The pixels of real defects, inside their masks, on normals of about the same brightness there."""
    pixels, masks = zip(*shots, strict=True)
    rng = generator(run.seed, "good")
    chosen, made = [], []
    for number in range(EACH * 4):
        shot = number % len(masks)
        place = int(rng.integers(len(sources)))
        around = cv2.dilate(masks[shot], np.ones((9, 9), np.uint8)) > masks[shot]
        shift = sources[place][around].mean(axis=0) - pixels[shot][around].mean(axis=0)
        moved = np.clip(np.rint(pixels[shot] + shift), 0, 255).astype(np.uint8)
        chosen.append((place, masks[shot]))
        made.append(np.where(masks[shot][..., None] > 0, moved, sources[place]))
    return sources[[place for place, _ in chosen]], np.stack([mask for _, mask in chosen]), np.stack(made)


def junk(
    run: Run, shots: list[tuple[Pixels, Pixels]], sources: Pixels, other: tuple[Run, PhotoSet]
) -> dict[str, Samples]:
    """Each kind of junk, ``EACH`` of it."""
    rng = generator(run.seed, "junk")
    source, mask, _ = (part[:EACH] for part in good(run, shots, sources))
    inside = mask[..., None] > 0
    noise = rng.integers(0, 256, source.shape).astype(np.uint8)
    half = EACH // 2
    filled = np.where(boxes(mask)[..., None] > 0, decoded(run, EACH, rng), source)
    whole = zeros(source)
    foreign = [read(other[0], other[1].train[:half]), read(run, textiles(run)[: EACH - half])]
    copies = np.concatenate([source[:half], np.stack([as_jpeg(image) for image in source[half:]])])
    return {
        "noise": (
            source,
            np.where(np.arange(EACH)[:, None, None] < half, mask, 1).astype(np.uint8),
            np.concatenate([np.where(inside, noise, source)[:half], noise[half:]]),
        ),
        "other": (source, whole + 1, np.concatenate(foreign)),
        "failed": (
            source,
            np.where(np.arange(EACH)[:, None, None] < half, 1, boxes(mask)).astype(np.uint8),
            np.concatenate([decoded(run, half, rng), filled[half:]]),
        ),
        "copy": (source, mask, copies),
    }


def decoded(run: Run, count: int, rng: np.random.Generator) -> Pixels:
    """What the embedded autoencoder makes of random latents: a diffusion model that learned nothing."""
    import torch

    from farm.config import ModelConfig
    from farm.diffusion.backbone import load_backbone
    from farm.diffusion.latents import to_pixels

    backbone = load_backbone(ModelConfig(), run.compute)
    side = run.size_px // backbone.factor
    drawn = rng.standard_normal((count, backbone.latent_channels, side, side)).astype(np.float32)
    return np.asarray(to_pixels(backbone.decode(torch.from_numpy(drawn))), np.uint8)


def textiles(run: Run) -> tuple[Photo, ...]:
    """Photographs of textile, from its package."""
    from farm.config import parse

    tree = run.model_dump(mode="json")
    tree["data"] = {"kind": "textile", "category": "textile"}
    return load_photos(parse(tree, "textile").data).train


def read(run: Run, photos: tuple[Any, ...]) -> Pixels:
    """(N, H, W, 3) of photographs."""
    return np.stack([read_photo(photo, run.size_px, run.data.max_megapixels) for photo in photos])


def zeros(images: Pixels) -> Pixels:
    """An empty mask for each image."""
    return np.zeros(images.shape[:3], np.uint8)


def boxes(masks: Pixels) -> Pixels:
    """Each mask's bounding box, at least a quarter of the image's side wide."""
    filled = np.zeros_like(masks)
    for number, mask in enumerate(masks):
        x, y, width, height = cv2.boundingRect(mask)
        side = max(width, height, mask.shape[0] // 4)
        filled[number, y : y + side, x : x + side] = 1
    return filled


def as_jpeg(image: Pixels) -> Pixels:
    """The image after JPEG of quality 95."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def jitter(images: Pixels) -> Pixels:
    """Gain within 5 %, a shift of up to 2 px and sensor noise of half a level."""
    rng, made = generator(0, "jitter"), []
    for image in images:
        across, down = rng.uniform(-2, 2, 2)
        matrix = np.array([[1, 0, across], [0, 1, down]])
        moved = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101)
        values = moved * rng.uniform(0.95, 1.05) + rng.normal(0, 0.5, image.shape)
        made.append(np.clip(np.rint(values), 0, 255).astype(np.uint8))
    return np.stack(made)


if __name__ == "__main__":
    sys.exit(main())
