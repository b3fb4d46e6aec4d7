"""Planned rows → rows with an image, a label and facts. Failure of a row is a row.

Rows are grouped by method and padded to one fixed batch size, so that a row's bytes do not depend on its neighbours.
When a batch raises, its rows are made again one by one (padded alike): only the row at fault fails. When memory runs
out, the same rows are made again in smaller batches. A row that earlier attempts found to kill its worker is poisoned.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from farm import attempts
from farm.config import Run
from farm.datasets.photo import PhotoSet
from farm.errors import DataError, FarmError, StoreError
from farm.facts import NAMES, pixel_facts
from farm.images import encode_mask, encode_png
from farm.methods import Made, Method, Request, build_method
from farm.plan import Plan
from farm.rows import FAILED, MADE, POISONED, Batch
from farm.stages.hands import Free, Hands
from farm.stages.made import bad_rows, check_made
from farm.stages.memory import BatchSize, DeviceLostError, is_device_lost, is_out_of_memory, relieve
from farm.stages.sources import Sources

Row = dict[str, Any]
Trajectories = Callable[[str, str], Any]  # (method name, photo id) -> (S+1, C, h, w) float16


class Generate:
    """Build once per worker (weights load when a method is first needed); ``shard`` makes a whole shard."""

    def __init__(
        self,
        run: Run,
        photos: PhotoSet,
        plan: Plan,
        trajectories: Trajectories,
        built: Callable[[], None] = lambda: None,
    ) -> None:
        """``built`` is called whenever a method has read its weights; it may refuse them."""
        self.run, self.plan, self._built = run, plan, built
        self.sources = Sources(run, photos)
        self._trajectory = trajectories
        self._methods: dict[str, Method] = {}
        self._sizes: dict[str, BatchSize] = {}

    def shard(self, shard: int, hands: Hands | None = None) -> tuple[Batch, dict[str, dict[str, float]]]:
        """``rows.ENCODED`` columns but ``rows.EMBEDDINGS`` of every row of ``shard``, and seconds by method."""
        return self.make([self.plan.row(number) for number in self.plan.shard_range(shard)], hands)

    def make(self, rows: list[Row], hands: Hands | None = None) -> tuple[Batch, dict[str, dict[str, float]]]:
        """The same for any planned rows; row order is kept. ``hands`` hears what is in hand."""
        hands = hands or Free()
        costs: dict[str, dict[str, float]] = {}
        for name in dict.fromkeys(row["method"] for row in rows):
            arm = {row["row"]: row for row in rows if row["method"] == name}
            begun = time.perf_counter()
            for number in arm.keys() & hands.blame.poisoned:
                arm[number].update(status=POISONED, error=attempts.reason(), objection="")
            waiting = [number for number in arm if number not in hands.blame.poisoned]
            for numbers in attempts.batches(waiting, self.run.compute.batch_size, hands.blame.alone):
                hands.hold(numbers)
                self._make_batch(name, [arm[number] for number in numbers if self._prepare(arm[number])])
            costs[name] = {"rows": float(len(arm)), "seconds": time.perf_counter() - begun}
        return _columns([_encoded(row) for row in rows]), costs

    def _prepare(self, row: Row) -> bool:
        """Read source, mask and trajectory into ``row``; a row without them is failed and False comes back."""
        method = self._method(row["method"])
        try:
            row["source"], where = self.sources.source(row["source_id"])
            row["source_png"] = self.sources.png(row["source_id"])
            row["mask"] = self.sources.mask(row, where) if row["kind"] == "defect" else np.zeros_like(where, np.uint8)
            if method.needs_trajectory:
                row["trajectory"] = self._trajectory(row["method"], row["source_id"])
        except StoreError:
            raise  # the run's own store, not this row's photograph: nothing is to be written of it
        except (FarmError, OSError) as error:
            _fail(row, "source", error)
            return False
        return True

    def _make_batch(self, name: str, rows: list[Row]) -> None:
        method, waiting = self._method(name), rows
        size = self._sizes.setdefault(name, BatchSize(self.run.compute.batch_size))
        while waiting:
            part = waiting[: size.now]
            try:
                made = self._call(method, part, size.now)
            except FarmError:
                raise
            except Exception as error:  # whatever a method raises for one row must not cost the others theirs
                if is_out_of_memory(error) and size.shrink():
                    relieve()
                    continue
                if is_device_lost(error):
                    raise DeviceLostError(str(error)) from error
                if len(part) == 1:
                    _fail(part[0], name, error)
                else:
                    for row in part:
                        self._make_batch(name, [row])
            else:
                size.worked()
                for index, (row, wrong) in enumerate(zip(part, bad_rows(made), strict=False)):
                    if wrong:
                        _fail(row, name, DataError(wrong))
                    else:
                        _take(row, made, index, name)
            waiting = waiting[len(part) :]

    def _call(self, method: Method, rows: list[Row], size: int) -> Made:
        padded = [*rows, *[rows[-1]] * (size - len(rows))]
        trajectory = np.stack([row["trajectory"] for row in padded]) if method.needs_trajectory else None
        request = Request(
            source=np.stack([row["source"] for row in padded]),
            mask=np.stack([row["mask"] for row in padded]),
            seed=np.asarray([row["seed"] for row in padded], dtype=np.int64),
            recipe=_strings(padded, "recipe"),
            prompt=_strings(padded, "prompt"),
            normal_prompt=_strings(padded, "normal_prompt"),
            trajectory=trajectory,
        )
        made = method(request)
        try:
            check_made(made, request)
        except DataError as error:
            raise TypeError(str(error)) from error  # a defect of the method: it costs its rows, not the run
        return made

    def _method(self, name: str) -> Method:
        if name not in self._methods:
            settings = dict(zip(self.run.arm_names(), self.run.methods, strict=True))[name]
            method = build_method(settings, self.run)
            self._built()
            self._methods[name] = method
        return self._methods[name]


def _take(row: Row, made: Made, index: int, name: str) -> None:
    """Move result ``index`` of a batch into its row, with the facts that filters judge by."""
    row["evaluations"] = int(made.evaluations[index])
    if made.error[index]:
        _fail(row, name, DataError(made.error[index]))
        return
    image, label = made.image[index], made.label[index]
    if row["kind"] == "normal" and label.any():
        _fail(row, name, DataError(f"a normal must have an empty label; {int(label.sum())} pixels are marked"))
        return
    row.update(status=MADE, error="", objection=made.objection[index], image=image, label=label)
    row["background_error"] = float(made.background_error[index])
    compared = row["source"] if made.reference is None else made.reference[index]
    facts = pixel_facts(compared[None], image[None], np.maximum(row["mask"], label)[None])
    row.update({name: float(values[0]) for name, values in facts.items()})


def _fail(row: Row, stage: str, error: BaseException) -> None:
    message = f"{stage}: {type(error).__name__}: {error}"
    row.update(status=FAILED, error=" ".join(message.split())[:500], objection="")


def _encoded(row: Row) -> Row:
    """The row with pictures as PNG; what a failed row does not have is empty, or zero."""
    empty: Row = dict.fromkeys(("background_error", *NAMES), 0.0)
    encoded = {"evaluations": 0, **empty, **row}
    encoded.pop("trajectory", None)
    for name, encode in (("source", encode_png), ("mask", encode_mask), ("image", encode_png), ("label", encode_mask)):
        pixels = encoded.pop(name, None)
        if f"{name}_png" not in encoded:
            encoded[f"{name}_png"] = b"" if pixels is None else encode(pixels)
    return encoded


def _columns(rows: Sequence[Row]) -> Batch:
    dtypes = {"row": np.int64, "seed": np.int64, "evaluations": np.int32}
    return {name: _array([row[name] for row in rows], dtypes.get(name)) for name in rows[0]}


def _array(values: list[Any], dtype: Any) -> Any:
    if isinstance(values[0], str | bytes):
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
    return np.asarray(values, dtype=dtype or np.float32)


def _strings(rows: Sequence[Row], name: str) -> tuple[str, ...]:
    return tuple(row[name] for row in rows)
