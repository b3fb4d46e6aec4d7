"""Making one sample again from its row alone, and holding it against what the run stored."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from farm.errors import RunError
from farm.images import decode_image
from farm.parts import to_batch
from farm.rounds import open_plan
from farm.rows import EMBEDDINGS, names
from farm.run_folder import RunFolder
from farm.source_index import read_index

PICTURES = ("source_png", "mask_png", "image_png", "label_png")


@dataclass(frozen=True)
class Reproduced:
    """What came out: ``equal`` says for each stored column whether it is the same, pictures byte for byte."""

    row: int
    sample_id: str
    stored: dict[str, Any]
    made: dict[str, Any]
    equal: dict[str, bool]
    pixels: dict[str, tuple[int, float]] = field(default_factory=dict)  # of unequal pictures: see ``difference``

    @property
    def same(self) -> bool:
        """Whether everything is equal."""
        return all(self.equal.values())

    def lines(self) -> list[str]:
        """For a person."""
        lines = [f"row {self.row}, {self.sample_id}: {'equal, byte for byte' if self.same else 'differs'}"]
        for name in (name for name, same in self.equal.items() if not same):
            if name not in self.pixels:
                lines.append(f"  {name}: stored {_shown(self.stored[name])}, made {_shown(self.made[name])}")
            else:
                most, share = self.pixels[name]
                lines.append(f"  {name}: {100 * share:.3f} % of the values differ, by {most} of 255 at most")
        return lines


def find_row(folder: RunFolder, sample: str) -> int:
    """The row number of ``sample``, which is a row number or a sample id. Raises ``RunError`` where there is none."""
    rows = folder.run().rows
    if sample.isdigit() and int(sample) < rows:
        return int(sample)
    for table in folder.candidates(["row", "sample_id"]):
        columns = to_batch(table)
        found = np.flatnonzero(columns["sample_id"] == sample)
        if len(found):
            return int(columns["row"][found[0]])
    raise RunError(
        f"{folder.store.root}: no committed row has the id {sample!r}; give a sample id (16 hexadecimal characters, in "
        f"the report and in candidates/) or a row number from 0 to {rows - 1}"
    )


def reproduce(folder: RunFolder, sample: str) -> Reproduced:
    """Make ``sample`` of the run in ``folder`` again, here, with one padded batch, and compare.

    Raises ``RunError`` where the row is not committed, where it was poisoned (it kills what makes it), or where the
    folder belongs to another version of the farm.
    """
    from farm.fitting.adapters import adapter_sums, hold_adapters
    from farm.prepare import settled_adapters
    from farm.stages.generate import Generate
    from farm.stages.invert import InversionBlocks, needs_inversion

    number = find_row(folder, sample)
    stored = _stored(folder, number)
    run, prints = folder.run().model_copy(update={"output": folder.store.root}), folder.fingerprints()
    plan = open_plan(folder, run, read_index(folder), prints["model"])
    if plan.fingerprint != prints["plan"]:
        raise RunError(f"{folder.store.root}: was planned by another version of the farm; use that one to reproduce it")
    if stored["status"] == "poisoned":
        raise RunError(f"row {number}: {stored['error']}; it is not made here, since it would end this process too")
    blocks = {
        name: InversionBlocks(folder, plan, name, prints["model"])
        for name, method in zip(run.arm_names(), run.methods, strict=True)
        if needs_inversion(method)
    }
    settled = settled_adapters(prints)
    stage = Generate(
        run,
        plan.photos,
        plan,
        lambda arm, photo: blocks[arm].trajectory(photo),
        built=lambda: hold_adapters(folder.store.root, settled, adapter_sums(run)),
    )
    batch, _ = stage.make([plan.row(number)])
    made = {name: values[0] for name, values in batch.items()}
    equal = {name: bool(np.array_equal(value, stored[name])) for name, value in made.items()}
    pixels = {
        name: difference(bytes(stored[name]), bytes(made[name]))
        for name in PICTURES
        if not equal[name] and stored[name] and made[name]
    }
    return Reproduced(number, str(stored["sample_id"]), stored, made, equal, pixels)


def difference(one: bytes, other: bytes) -> tuple[int, float]:
    """Of two PNG pictures: the largest difference of a value (of 255), and the share of values that differ."""
    apart = np.abs(decode_image(one, "stored").astype(int) - decode_image(other, "made"))
    return int(apart.max()), float((apart > 0).mean())


def _stored(folder: RunFolder, number: int) -> dict[str, Any]:
    shard = number // folder.run().cluster.shard_rows
    if not folder.is_done(shard):
        raise RunError(f"{folder.store.root}: row {number} is in shard {shard}, which is not committed yet")
    columns = to_batch(folder.read_shard(shard))
    place = int(np.flatnonzero(columns["row"] == number)[0])
    added = names(EMBEDDINGS)
    return {name: values[place] for name, values in columns.items() if name not in added}


def _shown(value: Any) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)
