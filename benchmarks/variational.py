"""Do generated normals help a detector that learns from normals alone? (card 002)   python benchmarks/variational.py

python benchmarks/variational.py --data FOLDER [--seeds 3] [--full-generated 16]    FOLDER holds bsdata_pitting/ and
magnetic_tile/; textile comes with the package. Images stay in the system's folder for temporary files, in
defectfarm_variational/, so that a call that was cut off goes on; remove it after a change of the method.

For 1, 5 and all normals of the training split: image AUROC of PatchCore and of the Gaussian (``farm.one_class``,
EfficientNet-Lite0) on at most 150 normal and 150 defective photographs of the test split, few-shot ones left out, with

    real        the n normals alone
    generated   and m = 4 n images of ``variational`` (of all normals: ``--full-generated``)
    light       and m light changes of the normals (``farm.variational.light``) instead: augmentation, no generator
    more_real   and m further real normals instead: what the best generator could give (1 and 5 normals only)
    other       and m images generated for another data set instead: must not help

Means over seeds, ``low`` and ``high`` the extremes; ``*.gain`` is paired by seed (arm less real). A seed decides which
normals are the shots, and the images. A refused image is tried again with another seed, twice; refusals are counted.
Writes results/variational.json and docs/images/variational.png. The bar: every image asked for is made or counted as
refused, and no figure is missing. The gains are what they are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks.mini_pictures import number
from farm.config import Run, VariationalConfig, parse
from farm.datasets import Photo, load_photos, read_photo
from farm.ids import fingerprint, generator, row_seed
from farm.images import encode_png
from farm.methods.base import Request
from farm.metrics import auroc
from farm.variational.light import lightly

SIZE_PX, TESTED, TRIES, SHOWN = 128, 150, 3, 4
DATA: dict[str, dict[str, Any]] = {
    "bsdata": {"kind": "mvtec", "category": "bsdata_pitting"},
    "magnetic_tile": {"kind": "mvtec", "category": "magnetic_tile"},
    "textile": {"kind": "textile", "category": "textile"},
}
KEYWORDS = {"bsdata": "ball screw", "magnetic_tile": "magnetic tile", "textile": "textile"}
FLIPS: dict[str, tuple[str, ...]] = {"bsdata": (), "magnetic_tile": (), "textile": ("horizontal", "vertical")}
SHOTS: tuple[int | None, ...] = (1, 5, None)
SETTINGS = {"candidates": 2, "iterations": 12, "cutouts": 2, "score_every": 4}  # the card: 8, 200, 32, 20
DRAWN = {"centre": "source", "noise": "joint", "sigma": 0.5, "detail": True}
ARMS = ("real", "generated", "light", "more_real", "other")
DETECTORS = ("patchcore", "gaussian")


@dataclass(frozen=True)
class Job:
    """One set of shots; all seeds of ``shots`` None (all normals) are one job, since they share what is learned."""

    name: str
    shots: int | None
    seeds: tuple[int, ...]
    data: str
    work: str
    full_generated: int

    @property
    def count(self) -> int:
        """m."""
        return self.full_generated if self.shots is None else 4 * self.shots

    def file(self, seed: int) -> Path:
        """Where the images of one seed are kept."""
        settings = fingerprint([run_of(self).model_dump(mode="json", exclude={"data"}), self.count])
        return Path(self.work) / f"{self.name}_{label(self.shots)}_{seed}_{settings}.npz"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--full-generated", type=int, default=16)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    work = Path(tempfile.gettempdir()) / "defectfarm_variational"
    work.mkdir(parents=True, exist_ok=True)
    jobs = list(asked(given.data, str(work), given.seeds, given.full_generated))
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for line in pool.imap_unordered(generate, jobs, chunksize=1):
            print(line, flush=True)
        found: dict[str, Any] = {}
        for scores in pool.imap(detect, jobs, chunksize=1):
            found |= scores
            print(scores, flush=True)
    figures = {**summary(found), **counts(jobs)}
    (_report.ROOT / "docs" / "images" / "variational.png").write_bytes(encode_png(picture(jobs)))
    _report.write("variational", figures, n=given.seeds)
    whole = all(np.isfinite(figure["value"]) for figure in figures.values())
    print(f"{'PASS' if whole else 'FAIL'}: {len(figures)} figures, {given.seeds} seeds")
    for key, figure in figures.items():
        print(f"  {key:50s} {figure['value']} ({figure['low']} to {figure['high']})")
    return 0 if whole else 1


def label(shots: int | None) -> str:
    return "full" if shots is None else f"{shots}shot"


def asked(data: str, work: str, seeds: int, full_generated: int) -> Iterable[Job]:
    """All jobs, the data sets one after another so that a process keeps its photographs."""
    every = tuple(range(seeds))
    for name in DATA:
        for shots in SHOTS:
            for some in [every] if shots is None else [(seed,) for seed in every]:
                yield Job(name, shots, some, data, work, full_generated)


def run_of(job: Job) -> Run:
    known = DATA[job.name]
    root = {} if known["kind"] == "textile" else {"root": str(Path(job.data) / known["category"])}
    chosen = {"kind": "variational", "keyword": KEYWORDS[job.name], "flips": FLIPS[job.name], **SETTINGS, **DRAWN}
    tree = {
        "name": "variational",
        "output": "nowhere",
        "rows": 1,
        "size_px": SIZE_PX,
        "data": {**known, **root},
        "prompts": {"normal": KEYWORDS[job.name], "defects": [{"name": "any", "prompt": "any"}]},
        "methods": [chosen],
    }
    return parse(tree, "benchmarks/variational.py")


@lru_cache(maxsize=1)
def training(name: str, data: str) -> np.ndarray:
    """All normals of the training split, uint8 (N, S, S, 3)."""
    run = run_of(Job(name, 1, (0,), data, "", 0))
    return read(load_photos(run.data).train)


@lru_cache(maxsize=1)
def testing(name: str, data: str) -> tuple[np.ndarray, np.ndarray]:
    """At most TESTED normals and TESTED defects of the test split, evenly spaced, and 1 where there is a defect."""
    run = run_of(Job(name, 1, (0,), data, "", 0))
    photos = load_photos(run.data).test
    good, bad = ([photo for photo in photos if photo.is_good is wanted] for wanted in (True, False))
    chosen = [evenly(good, TESTED), evenly(bad, TESTED)]
    return read([*chosen[0], *chosen[1]]), np.repeat([0, 1], [len(one) for one in chosen])


def evenly(photos: Sequence[Photo], most: int) -> list[Photo]:
    if len(photos) <= most:
        return list(photos)
    return [photos[index] for index in np.linspace(0, len(photos) - 1, most).round().astype(int)]


def read(photos: Sequence[Photo]) -> np.ndarray:
    return np.stack([read_photo(photo, SIZE_PX) for photo in photos])


def shots_of(job: Job, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The row numbers of the shots in ``training``, and of as many others as images are generated."""
    order = generator(seed, f"variational/shots/{job.name}").permutation(len(training(job.name, job.data)))
    if job.shots is None:
        return np.sort(order), order[:0]
    return order[: job.shots], order[job.shots : job.shots + job.count]


def generate(job: Job) -> str:
    """Make and keep the images of all seeds of the job that are not there yet; says what was done."""
    from farm.methods.variational import Variational

    method: Variational | None = None
    told = []
    for seed in job.seeds:
        if job.file(seed).exists():
            continue
        rows = shots_of(job, seed)[0]
        normals = training(job.name, job.data)[rows]
        if method is None or job.shots is not None:
            run = run_of(job)
            config = run.methods[0]
            assert isinstance(config, VariationalConfig)
            method = Variational(config, run, normals=normals)
        clock = time.process_time()
        images, sources, refusals = make(method, normals, job, seed)
        spent = time.process_time() - clock
        prompt = method.choice.prompt
        part = job.file(seed).with_suffix(".part.npz")
        np.savez(part, images=images, sources=sources, refusals=refusals, seconds=spent, prompt=prompt)
        part.rename(job.file(seed))
        told.append(
            f"seed {seed}: {len(images)} of {job.count}, {len(refusals)} refusals, {spent:.0f} CPU s, '{prompt}'"
        )
    return f"{job.name} {label(job.shots)}: " + ("; ".join(told) or "kept")


def make(method: Any, normals: np.ndarray, job: Job, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kept images, their sources' row numbers in ``normals``, and the reasons of all refusals."""
    sources = np.linspace(0, len(normals), job.count, endpoint=False).astype(int)
    images, kept, refusals = [], [], []
    for index, source in enumerate(sources):
        for attempt in range(TRIES):
            number_ = row_seed(f"variational/{job.name}/{job.shots}/{seed}", index * TRIES + attempt)
            mask = np.zeros((1, SIZE_PX, SIZE_PX), np.uint8)
            made = method(Request(normals[source][None], mask, np.array([number_]), ("",), ("",), ("",)))
            assert made.error == ("",), made.error
            if not made.objection[0]:
                images.append(made.image[0])
                kept.append(source)
                break
            refusals.append(made.objection[0])
    none = np.zeros((0, SIZE_PX, SIZE_PX, 3), np.uint8)
    return np.stack(images) if images else none, np.array(kept, int), np.array(refusals, str)


@lru_cache(maxsize=1)
def encoder() -> Any:
    import torch

    from farm.one_class import Encoder

    torch.set_num_threads(1)
    return Encoder()


@lru_cache(maxsize=1)
def seen_test(name: str, data: str) -> tuple[Any, np.ndarray]:
    images, labels = testing(name, data)
    return encoder()(images), labels


@lru_cache(maxsize=1)
def seen_training(name: str, data: str) -> Any:
    return encoder()(training(name, data))


def detect(job: Job) -> dict[str, float]:
    """AUROC of each seed, arm and detector: ``<data>.<shots>.<detector>.<arm>.<seed>``."""
    from farm.one_class import Gaussian, PatchCore, Views

    views, labels = seen_test(job.name, job.data)
    found = {}
    for seed in job.seeds:
        shots, others = shots_of(job, seed)
        every = seen_training(job.name, job.data) if job.shots is None else None
        images = training(job.name, job.data)
        real = every if every is not None else encoder()(images[shots])
        for arm, more in added(job, seed, images[shots], images[others]).items():
            extra = encoder()(more) if len(more) else None
            parts = [real] if extra is None else [real, extra]
            joined = Views(
                np.concatenate([part.patches for part in parts]), np.concatenate([part.means for part in parts])
            )
            for name, detector in zip(DETECTORS, (PatchCore(encoder()), Gaussian(encoder())), strict=True):
                scores = detector.fit_views(joined).scores_of(views)
                found[f"{job.name}.{label(job.shots)}.{name}.{arm}.{seed}"] = auroc(scores, labels)
    return found


def added(job: Job, seed: int, shots: np.ndarray, others: np.ndarray) -> dict[str, np.ndarray]:
    """What each arm adds to the shots; all arms add as many images as were generated."""
    kept = np.load(job.file(seed))
    count, names = len(kept["images"]), list(DATA)
    rng = generator(seed, f"variational/light/{job.name}")
    light = [lightly(shots[source], 1, FLIPS[job.name], rng)[0] for source in kept["sources"]]  # type: ignore[arg-type]
    away = names[(names.index(job.name) + 1) % len(names)]
    foreign = np.load(Job(away, job.shots, (seed,), job.data, job.work, job.full_generated).file(seed))["images"]
    arms = {
        "real": shots[:0],
        "generated": kept["images"],
        "light": np.stack(light) if light else shots[:0],
        "more_real": others[:count],
        "other": foreign[:count],
    }
    return {arm: arms[arm] for arm in ARMS if arm != "more_real" or job.shots is not None}


def summary(found: dict[str, float]) -> dict[str, Any]:
    """Means over seeds with extremes, and gains paired by seed."""
    grouped: dict[str, list[float]] = {}
    for key, value in found.items():
        grouped.setdefault(key.rpartition(".")[0], []).append(value)
    figures = {}
    for key, values in grouped.items():
        figures[key] = number(float(np.mean(values)), "AUROC", min(values), max(values))
        before, _, arm = key.rpartition(".")
        if arm != "real":
            gains = np.array(values) - grouped[f"{before}.real"]
            figures[f"{key}.gain"] = number(float(gains.mean()), "AUROC", gains.min(), gains.max())
    return figures


def counts(jobs: Sequence[Job]) -> dict[str, Any]:
    """Of each data set and number of shots: images made, asked for, refusals a try, and processor seconds a try."""
    figures: dict[str, Any] = {}
    for name in DATA:
        for shots in SHOTS:
            of = [
                (job, np.load(job.file(seed)))
                for job in jobs
                for seed in job.seeds
                if (job.name, job.shots) == (name, shots)
            ]
            made, refused = sum(len(kept["images"]) for _, kept in of), sum(len(kept["refusals"]) for _, kept in of)
            place = f"{name}.{label(shots)}"
            figures[f"{place}.made"] = number(made, "images")
            figures[f"{place}.asked"] = number(sum(job.count for job, _ in of), "images")
            for reason in ("would_be_an_anomaly", "copy"):
                count = sum(int((kept["refusals"] == reason).sum()) for _, kept in of)
                figures[f"{place}.{reason}"] = number(count / max(1, made + refused), "1")
            figures[f"{place}.seconds"] = number(
                sum(float(kept["seconds"]) for _, kept in of) / max(1, made + refused), "s"
            )
    return figures


def picture(jobs: Sequence[Job]) -> np.ndarray:
    """Data sets in rows: a real normal, then SHOWN images generated from five, the first seed's."""
    rows = []
    for job in jobs:
        if job.shots == 5 and 0 in job.seeds:
            kept = np.load(job.file(0))
            real = training(job.name, job.data)[shots_of(job, 0)[0]]
            step = max(1, len(kept["images"]) // SHOWN)
            some = [*kept["images"][::step][:SHOWN], *[np.full_like(real[0], 255)] * SHOWN][:SHOWN]
            rows.append(np.concatenate([real[0], *some], axis=1))
    return np.concatenate(rows)


if __name__ == "__main__":
    sys.exit(main())
