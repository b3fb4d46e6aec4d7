"""The methods side by side on real photographs: python benchmarks/methods.py bsdata --data FOLDER [--set a.b=c ...]

Fits, generates and judges ``configs/<name>_methods.yaml`` and ``<name>_dual.yaml`` (done phases are skipped) and
measures the kept images of each arm and defect against the held-out defects, photographs that no fit ever saw. Writes
``results/methods_<name>.json`` and a strip, ``docs/images/methods_<name>.png``. Features: EfficientNet-Lite0
(ImageNet), so that no number compares with one on Inception or VGG.

- KID (card 005 B) of whole images, and of a window of CROP_PX around the largest part of the label, where the defect
  fills more of the picture. For scale: the few-shot photographs, and normal photographs with the held-out masks.
- Diversity: distance of images that have the same nearest few-shot photograph (IC-LPIPS with these features).
- Background error before compositing; IoU_diff of the target mask and the pixels that really changed; IoU_seg of the
  label and what a segmenter of the few-shot photographs sees (``benchmarks/_segmenter.py``). ``dual`` has no source
  and no target mask, so it has IoU_seg alone; for scale the held-out photographs have theirs.
- Seconds and U-Net evaluations a kept image. Inversion is made once a photograph: ``evaluations`` has its share,
  ``evaluations.without`` what inverting for every image would cost.

The bar: every planned row is accounted for and ``farm verify`` finds the run whole. The numbers are what they are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks._segmenter import found as found_defects
from benchmarks._segmenter import learned
from benchmarks.mini_pictures import number
from benchmarks.real import strip
from cluster.flow import Flow
from cluster.progress import Shown
from farm.config import BackgroundAwareConfig, DualConfig, Run, load
from farm.datasets import Photo, PhotoSet, read_mask, read_photo
from farm.datasets.photo import defect_name
from farm.detector.predict import Detector
from farm.images import decode_image
from farm.metrics import alignment, cluster_diversity, kid, kid_subsets, mask_iou
from farm.perceptual_features import Features, between
from farm.plan import Plan, arm_sources
from farm.run_folder import RunFolder
from farm.run_ledger import spent, write_ledger
from farm.stages.invert import InversionBlocks, needs_inversion
from farm.verify import verify

NAMES = ("bsdata", "magnetic_tile")
KINDS = ("methods", "dual")  # configs/<name>_<kind>.yaml
COUNTS = ("planned", "kept", "refused", "failed", "poisoned")
CROP_PX = 48  # of images of 128
COLUMNS = (
    *("row", "sample_id", "source_id", "method", "recipe", "defect", "evaluations", "background_error"),
    *("image_png", "mask_png", "label_png"),
)


@dataclass(frozen=True)
class Pictures:
    """Images (N, S, S, 3) with the masks (N, S, S) of their defects."""

    images: np.ndarray
    masks: np.ndarray

    def crops(self) -> np.ndarray:
        """(N, CROP_PX, CROP_PX, 3): around the middle of the largest part of each mask, inside the image."""
        return np.stack([crop(image, mask) for image, mask in zip(self.images, self.masks, strict=True)])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--data", required=True, help="the folder of the category")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="A.B=C")
    given = parser.parse_args()
    flows, problems, told = list[Flow](), list[str](), list[str]()
    figures: dict[str, Any] = {f"rows.{name}": number(0, "rows") for name in COUNTS}
    for kind in KINDS:
        config = _report.ROOT / "configs" / f"{given.name}_{kind}.yaml"
        flow = Flow(load(config, [f"data.root={given.data}", *given.overrides]), Shown())
        flow.fit()
        flow.invert()
        flow.generate()
        flow.judge()
        for name, count in write_ledger(flow.folder).items():
            figures[f"rows.{name}"]["value"] += count
        for phase in flow.folder.read_json("timing.json")["phases"]:
            of = f"seconds.{phase['name']}" if phase["name"].startswith("fit ") else f"seconds.{kind}.{phase['name']}"
            figures[of] = number(phase["seconds"], "s")
        found = verify(flow.folder)
        problems += found.problems
        told.append(found.summary())
        flows.append(flow)
    figures = measure(flows) | figures
    _report.write(f"methods_{given.name}", figures, n=int(figures["rows.planned"]["value"]))
    strip([flow.folder for flow in flows], _report.ROOT / "docs" / "images" / f"methods_{given.name}.png")
    print(f"{'FAIL' if problems else 'PASS'}: {given.name}: {'; '.join(told)}")
    for key, figure in figures.items():
        print(f"  {key:50s} {figure['value']}")
    return 1 if problems else 0


def measure(flows: Sequence[Flow]) -> dict[str, Any]:
    """``<defect>.<arm>.<metric>``, beside the few-shot (``shots``), held-out and normal photographs (``normals``)."""
    run, photos = flows[0].run, flows[0].plan.photos
    features, segmenter = Features(threads=2), learned(run, photos)
    rows = [row for flow in flows for row in made_rows(flow.folder)]
    born = {arm for flow in flows for arm, one in arms(flow.run).items() if isinstance(one, DualConfig)}
    figures: dict[str, Any] = {}
    for defect in [known.name for known in run.prompts.defects]:
        held_out, shots = (read(run, split, defect) for split in (photos.test, photos.shots))
        references = features.perceptual(shots.images)
        sets = {"shots": shots, "normals": normals(run, photos, held_out)}
        figures |= named(f"{defect}.held_out", seen(segmenter, held_out))
        for arm in [arm for flow in flows for arm in flow.run.arm_names()]:
            of = [row for row in rows if row["method"] == arm and (row["recipe"] or row["defect"] == defect)]
            kept = [row for row in of if row["keep"]]
            if of:
                figures |= named(f"{defect}.{arm}", accounts(of, kept, aligned=arm not in born))
            if kept:
                sets[arm] = pictures(kept)
                figures |= named(f"{defect}.{arm}", seen(segmenter, sets[arm]))
        for name, one in sets.items():
            found = nearness(features, one, held_out)
            apart = features.perceptual(one.images)
            to_shots, between_rows = between(apart, references), between(apart, apart)
            if name == "shots":
                np.fill_diagonal(to_shots, np.inf)
            varied = cluster_diversity(to_shots, lambda first, second, all_=between_rows: all_[first, second])
            figures |= named(f"{defect}.{name}", {**found, "diversity": number(varied, "1")})
    for flow in flows:
        for arm in flow.run.arm_names():
            of = [row for row in rows if row["method"] == arm]
            figures |= named(arm, cost(flow.folder, flow.plan, of, arm))
    return figures


def seen(segmenter: Detector, shown: Pictures) -> dict[str, Any]:
    """IoU_seg: median with the worst and best tenth, and the share below a half (card 005 B)."""
    return agreement("iou_seg", found_defects(segmenter, shown.images), shown.masks)


def agreement(name: str, one: np.ndarray, two: np.ndarray) -> dict[str, Any]:
    """``name`` and ``name.below_half`` of the IoUs of masks (N, S, S)."""
    found = alignment(mask_iou(one, two))
    return {
        name: number(found["median"], "1", found["p10"], found["p90"]),
        f"{name}.below_half": number(found["below_half"], "1"),
    }


def named(place: str, figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with ``place`` before their names."""
    return {f"{place}.{name}": figure for name, figure in figures.items()}


def made_rows(folder: RunFolder) -> list[dict[str, Any]]:
    """Every row of the run with its verdict, ``keep``."""
    verdicts = folder.verdicts()
    keep = dict(zip(verdicts["row"].to_pylist(), verdicts["keep"].to_pylist(), strict=True))
    rows = [row for table in folder.candidates(COLUMNS) for row in table.to_pylist()]
    return [{**row, "keep": keep[row["row"]]} for row in rows]


def read(run: Run, photos: Sequence[Photo], defect: str) -> Pictures:
    """The photographs of ``photos`` that show ``defect``, with their masks."""
    of = [photo for photo in photos if defect_name(photo.defect or "") == defect and photo.mask_path]
    return Pictures(
        np.stack([read_photo(photo, run.size_px, run.data.max_megapixels) for photo in of]),
        np.stack([read_mask(photo, run.size_px, run.data.max_megapixels) for photo in of]),
    )


def normals(run: Run, photos: PhotoSet, held_out: Pictures) -> Pictures:
    """As many normal photographs, evenly spaced, each with a held-out mask: what doing nothing would give."""
    some = arm_sources(photos.train, len(held_out.images))
    images = np.stack([read_photo(photo, run.size_px, run.data.max_megapixels) for photo in some])
    return Pictures(images, held_out.masks[: len(images)])


def pictures(rows: Sequence[dict[str, Any]]) -> Pictures:
    """Images and labels of kept rows."""
    images = np.stack([decode_image(row["image_png"], row["sample_id"]) for row in rows])
    return Pictures(images, np.stack([mask_of(row, "label") for row in rows]))


def mask_of(row: dict[str, Any], name: str) -> np.ndarray:
    """(S, S) in {0, 1}: the target mask or the label of a row."""
    return (decode_image(row[f"{name}_png"], row["sample_id"])[..., 0] > 127).astype(np.uint8)


def crop(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(CROP_PX, CROP_PX, 3) around the middle of the largest part of ``mask``, moved so that it is inside the image."""
    _, _, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if len(stats) == 1:
        column, row = image.shape[1] / 2, image.shape[0] / 2
    else:
        column, row = centres[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    half = CROP_PX // 2
    top = int(np.clip(round(row) - half, 0, image.shape[0] - CROP_PX))
    left = int(np.clip(round(column) - half, 0, image.shape[1] - CROP_PX))
    return image[top : top + CROP_PX, left : left + CROP_PX]


def nearness(features: Features, found: Pictures, held_out: Pictures) -> dict[str, Any]:
    """KID against the held-out defects, of whole images and of crops, with one standard deviation of subsets."""
    figures = {}
    for name, one, other in (
        ("kid", found.images, held_out.images),
        ("kid_crop", found.crops(), held_out.crops()),
    ):
        x, y = features.pooled(one), features.pooled(other)
        value, spread = kid(x, y), kid_subsets(x, y)[1]
        figures[name] = number(value, "1", value - spread, value + spread)
    return {**figures, "images": number(len(found.images), "images")}


def arms(run: Run) -> dict[str, Any]:
    """Settings of the arms by name."""
    return dict(zip(run.arm_names(), run.methods, strict=True))


def accounts(rows: Sequence[dict[str, Any]], kept: Sequence[dict[str, Any]], aligned: bool) -> dict[str, Any]:
    """Share refused or failed; where rows are ``aligned`` to a source and a target mask, background error (0..255) and
    IoU of target mask and label of the kept ones."""
    figures = {"refused": number(1 - len(kept) / max(1, len(rows)), "1")}
    if kept and aligned:
        asked, made = (np.stack([mask_of(row, name) for row in kept]) for name in ("mask", "label"))
        figures |= agreement("iou_diff", asked, made)
        low, middle, high = np.quantile([float(row["background_error"]) for row in kept], (0.1, 0.5, 0.9))
        figures["background_error"] = number(middle, "of 255", low, high)
    return figures


def cost(folder: RunFolder, plan: Plan, rows: Sequence[dict[str, Any]], arm: str) -> dict[str, Any]:
    """Seconds and network evaluations a kept image, with trajectories made once a photograph and made every time."""
    kept = max(1, sum(row["keep"] for row in rows))
    seconds = spent(folder).device_s[arm]
    asked = sum(int(row["evaluations"]) for row in rows)
    method = arms(folder.run())[arm]
    figures = {"seconds": number(seconds / kept, "s"), "evaluations": number(asked / kept, "1")}
    if isinstance(method, BackgroundAwareConfig) and needs_inversion(method):
        blocks = InversionBlocks(folder, plan, arm, folder.fingerprints()["model"])
        markers = [folder.read_json(f"inversions/{blocks.key}/block-{block:06d}.json") for block in range(len(blocks))]
        inverted = sum(len(marker["photos"]) - len(marker["failed"]) for marker in markers)
        each = sum(marker["evaluations"] for marker in markers) / inverted
        sources = len({row["source_id"] for row in rows})
        figures["evaluations"] = number((asked + sources * each) / kept, "1")
        figures["evaluations.without"] = number((asked + len(rows) * each) / kept, "1")
    return figures


if __name__ == "__main__":
    sys.exit(main())
