"""Photographs → stored DDIM trajectories, once for each (source, model, schedule), and their reader.

Inverting a normal photograph does not depend on the defect, so every sample on that source reuses it. A block holds
the trajectories of a fixed range of the arm's sources as fp16; its JSON marker, written last, carries the checksum.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from farm.config import BackgroundAwareConfig, MethodConfig, Run
from farm.datasets.photo import TrainPhoto
from farm.diffusion.schedule import INVERSION_TOLERANCE
from farm.errors import FarmError, RunError, StoreError
from farm.ids import fingerprint
from farm.plan import Plan
from farm.run_folder import RunFolder

Half = npt.NDArray[np.float16]
BLOCK_SOURCES = 16
CACHED_BLOCKS = 8


def needs_inversion(method: MethodConfig) -> bool:
    """Whether rows of this arm start from a stored trajectory."""
    return isinstance(method, BackgroundAwareConfig) and method.mode == "replay"


def inversion_key(run: Run, method: BackgroundAwareConfig, model: str) -> str:
    """Folder name of an arm's trajectories: weights, schedule, prompt, size and arithmetic decide them."""
    rounds = {"fixed_point": method.fixed_point, "tolerance": INVERSION_TOLERANCE}
    schedule = {"steps": method.steps, **rounds, "prompt": run.prompts.normal}
    return f"{model}-{fingerprint({**schedule, 'size': run.size_px, 'compute': run.compute.model_dump()})}"


class InversionBlocks:
    """The blocks that one arm reads: their names, what is missing, and reading a source's trajectory."""

    def __init__(self, folder: RunFolder, plan: Plan, arm: str, model: str) -> None:
        method = dict(zip(plan.run.arm_names(), plan.run.methods, strict=True))[arm]
        assert isinstance(method, BackgroundAwareConfig)
        self.folder, self.key = folder, inversion_key(plan.run, method, model)
        self.sources = _sources(plan, model, self.key)
        self._place = {photo.photo_id: index for index, photo in enumerate(self.sources)}
        self._cache: OrderedDict[int, dict[str, Half]] = OrderedDict()

    def __len__(self) -> int:
        return -(-len(self.sources) // BLOCK_SOURCES)

    def photos(self, block: int) -> tuple[TrainPhoto, ...]:
        """The sources of ``block``."""
        return self.sources[block * BLOCK_SOURCES : (block + 1) * BLOCK_SOURCES]

    def is_done(self, block: int) -> bool:
        """Whether the block's marker is there and speaks of the same sources."""
        name = f"{self._name(block)}.json"
        if not self.folder.store.exists(name):
            return False
        return bool(self.folder.read_json(name)["photos"] == [photo.photo_id for photo in self.photos(block)])

    def write(self, block: int, trajectories: dict[str, Half], failed: dict[str, str], facts: dict[str, Any]) -> None:
        """Commit a block: tensors first, marker with checksum and failures last."""
        data = save_tensors({name: np.ascontiguousarray(values) for name, values in sorted(trajectories.items())})
        self.folder.store.write(f"{self._name(block)}.safetensors", data)
        marker = {"photos": [photo.photo_id for photo in self.photos(block)], "failed": failed, **facts}
        marker["sha256"] = hashlib.sha256(data).hexdigest()
        self.folder.write_json(f"{self._name(block)}.json", marker)

    def trajectory(self, photo_id: str) -> Half:
        """(S+1, C, h, w) of one source; ``RunError`` where its inversion failed or is damaged."""
        block = self._place[photo_id] // BLOCK_SOURCES
        if block not in self._cache:
            self._cache[block] = self._read(block)
            if len(self._cache) > CACHED_BLOCKS:
                self._cache.popitem(last=False)
        if photo_id not in self._cache[block]:
            reason = self.folder.read_json(f"{self._name(block)}.json")["failed"].get(photo_id, "not inverted")
            raise RunError(f"inversion of photograph {photo_id}: {reason}")
        return self._cache[block][photo_id]

    def _read(self, block: int) -> dict[str, Half]:
        data = self.folder.store.read(f"{self._name(block)}.safetensors")
        marker = self.folder.read_json(f"{self._name(block)}.json")
        if hashlib.sha256(data).hexdigest() != marker["sha256"]:
            name = f"{self._name(block)}.safetensors"
            raise StoreError(
                f"{self.folder.store.url(name)}: is not what its marker says; run 'farm verify "
                f"{self.folder.store.root} --repair', then the same command again"
            )
        tensors: dict[str, Half] = load_tensors(data)
        return tensors

    def _name(self, block: int) -> str:
        return f"inversions/{self.key}/block-{block:06d}"


def _sources(plan: Plan, model: str, key: str) -> tuple[TrainPhoto, ...]:
    """All that any arm with these trajectories paints on, so that arms share blocks and none replaces another's."""
    arms = zip(plan.run.arm_names(), plan.run.methods, strict=True)
    wanted = {
        photo.photo_id
        for arm, method in arms
        if isinstance(method, BackgroundAwareConfig) and needs_inversion(method)
        if inversion_key(plan.run, method, model) == key
        for photo in plan.sources[arm]
    }
    return tuple(photo for photo in plan.photos.train if photo.photo_id in wanted)


class Invert:
    """Inverts the sources of a block in fixed, padded batches. ``inverter`` maps (B, H, W, 3) and texts to fp16."""

    def __init__(self, run: Run, read: Callable[[str], npt.NDArray[np.uint8]], inverter: Any) -> None:
        self.run, self._read, self._inverter = run, read, inverter

    def block(self, photos: tuple[TrainPhoto, ...]) -> tuple[dict[str, Half], dict[str, str]]:
        """Trajectories by photo id, and messages by photo id for those that could not be inverted."""
        pixels, failed = {}, {}
        for photo in photos:
            try:
                pixels[photo.photo_id] = self._read(photo.photo_id)
            except (FarmError, OSError) as error:
                failed[photo.photo_id] = str(error)
        made: dict[str, Half] = {}
        ids, size = list(pixels), self.run.compute.batch_size
        for start in range(0, len(ids), size):
            self._batch(ids[start : start + size], pixels, made, failed)
        return made, failed

    def _batch(self, ids: list[str], pixels: dict[str, Any], made: dict[str, Half], failed: dict[str, str]) -> None:
        padded = [*ids, *[ids[-1]] * (self.run.compute.batch_size - len(ids))]
        stack = np.stack([pixels[name] for name in padded])
        trajectories = self._inverter(stack, [self.run.prompts.normal] * len(padded))
        for index, name in enumerate(ids):
            if np.isfinite(trajectories[index]).all():
                made[name] = trajectories[index]
            else:
                failed[name] = "the inverted latents are not finite"
