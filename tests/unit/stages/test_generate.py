"""The generating stage with small real methods: row independence, failure of a row is a row."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.attempts import Blame
from farm.datasets import load_photos
from farm.errors import RowError
from farm.images import decode_image, decode_mask
from farm.methods import Made, Request
from farm.parts import to_batch
from farm.plan import Plan
from farm.rows import ENCODED, check
from farm.run_folder import RunFolder
from farm.stages.generate import Generate
from farm.stages.memory import PATIENCE, DeviceLostError
from farm.stages.write import Write
from tests.photos import make_run, make_tree
from tests.stages import embeddings, generating


class Darken:
    """Halves the pixels in the mask; raises or complains for the seeds it is told to."""

    needs_trajectory = False

    def __init__(self, raises: frozenset[int] = frozenset(), complains: frozenset[int] = frozenset()) -> None:
        self.raises, self.complains, self.sizes = raises, complains, list[int]()

    def __call__(self, request: Request) -> Made:
        self.sizes.append(len(request.seed))
        if self.raises & set(request.seed.tolist()):
            raise ValueError("no such word")
        image = np.where(request.mask[..., None] > 0, request.source // 2, request.source)
        count = len(image)
        return Made(
            image=image,
            label=request.mask,
            evaluations=np.full(count, 7, np.int32),
            background_error=np.zeros(count, np.float32),
            objection=("",) * count,
            error=tuple("not finite" if int(seed) in self.complains else "" for seed in request.seed),
        )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tree(tmp_path_factory.mktemp("plates"))


def planned(made: Generate, count: int = 6) -> list[dict[str, Any]]:
    return [made.plan.row(number) for number in range(count)]


def test_a_shard_keeps_the_contract_and_the_order(root: Path, tmp_path: Path) -> None:
    made = generating(make_run(root, tmp_path))
    batch, costs = made.shard(1)
    batch |= embeddings(4)
    check(batch, ENCODED, "test")
    assert batch["row"].tolist() == [4, 5, 6, 7]
    assert costs["rules"]["rows"] == 4


@pytest.mark.parametrize("size", [1, 3, 6])
def test_rows_made_alone_or_together_are_byte_equal(root: Path, tmp_path: Path, size: int) -> None:
    made = generating(make_run(root, tmp_path))
    together, _ = made.make(planned(made))
    for start in range(0, 6, size):
        part, _ = made.make(planned(made)[start : start + size][::-1])
        for name in ("image_png", "label_png", "mask_png", "source_png"):
            assert part[name][::-1].tolist() == together[name][start : start + size].tolist()


def test_every_batch_has_the_fixed_size(root: Path, tmp_path: Path) -> None:
    method = Darken()
    made = generating(make_run(root, tmp_path), method)
    made.make(planned(made, 6))
    assert method.sizes == [4, 4]


def test_a_row_that_raises_fails_alone_with_stage_and_message(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path)
    seeds = [row["seed"] for row in planned(generating(run))]
    whole, _ = generating(run, Darken()).make(planned(generating(run)))
    batch, _ = generating(run, Darken(raises=frozenset({seeds[2]}))).make(planned(generating(run)))
    assert batch["status"].tolist() == ["made", "made", "failed", "made", "made", "made"]
    assert batch["error"][2] == "rules: ValueError: no such word"
    assert batch["image_png"][2] == b""
    others = [0, 1, 3, 4, 5]
    assert batch["image_png"][others].tolist() == whole["image_png"][others].tolist()


class Scarce(Darken):
    """Has memory for so many rows at a time; ``later`` replaces that number once ``after`` batches went well."""

    def __init__(self, room: int, later: int | None = None, after: int = 0) -> None:
        super().__init__()
        self.room, self.later, self.after = room, later, after

    def __call__(self, request: Request) -> Made:
        if len(request.seed) > self.room:
            self.sizes.append(-len(request.seed))
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        made = super().__call__(request)
        if self.later is not None and sum(size > 0 for size in self.sizes) == self.after:
            self.room = self.later
        return made


def test_out_of_memory_makes_the_same_rows_in_smaller_batches_with_the_same_bytes(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path)
    whole, _ = generating(run, Darken()).make(planned(generating(run)))
    method = Scarce(room=1)
    batch, _ = generating(run, method).make(planned(generating(run)))
    assert method.sizes == [-4, -4, -2, -2, 1, 1, 1, 1, 1, 1]  # each size is tried again once memory was given back
    assert batch["image_png"].tolist() == whole["image_png"].tolist()


def test_batches_grow_back_when_memory_is_there_again(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path, rows=64)
    method = Scarce(room=2, later=4, after=3)
    made = generating(run, method)
    batch, _ = made.make(planned(made, 48))
    assert set(batch["status"]) == {"made"}
    assert method.sizes[:2] == [-4, -4]
    assert method.sizes[2:] == [2] * PATIENCE + [4] * 8


def test_a_row_for_which_there_is_never_memory_fails_and_the_next_ones_are_tried(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path)
    batch, _ = generating(run, Scarce(room=0)).make(planned(generating(run), 5))
    assert set(batch["status"]) == {"failed"}
    assert batch["error"][4] == "rules: RuntimeError: CUDA out of memory. Tried to allocate 20.00 GiB"


def test_a_broken_device_ends_the_process_not_the_row(root: Path, tmp_path: Path) -> None:
    class Broken(Darken):
        def __call__(self, request: Request) -> Made:
            raise RuntimeError("CUDA error: device-side assert triggered")

    run = make_run(root, tmp_path)
    with pytest.raises(DeviceLostError, match="device-side assert"):
        generating(run, Broken()).make(planned(generating(run)))


class Heard:
    """Hands that remember."""

    def __init__(self, blame: Blame) -> None:
        self.blame, self.held = blame, list[list[int]]()

    def hold(self, rows: Sequence[int]) -> None:
        self.held.append(list(rows))


def test_suspects_are_made_alone_and_poisoned_rows_never_with_all_other_bytes_equal(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path)
    whole, _ = generating(run, Darken()).make(planned(generating(run)))
    hands = Heard(Blame(poisoned=frozenset({1}), alone=frozenset({2, 3}), dead=4))
    batch, _ = generating(run, Darken()).make(planned(generating(run)), hands)
    assert hands.held == [[0], [2], [3], [4, 5]]
    assert batch["status"].tolist() == ["made", "poisoned", "made", "made", "made", "made"]
    assert batch["error"][1] == "poisoned: 3 workers died while they had this row alone in hand"
    assert batch["image_png"][1] == b""
    others = [0, 2, 3, 4, 5]
    assert batch["image_png"][others].tolist() == whole["image_png"][others].tolist()


def test_a_row_that_complains_fails_and_keeps_its_cost(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path)
    seeds = [row["seed"] for row in planned(generating(run))]
    batch, _ = generating(run, Darken(complains=frozenset({seeds[0]}))).make(planned(generating(run)))
    assert (batch["status"][0], batch["error"][0]) == ("failed", "rules: DataError: not finite")
    assert batch["evaluations"].tolist() == [7] * 6


def test_a_missing_trajectory_fails_the_row(root: Path, tmp_path: Path) -> None:
    method = Darken()
    method.needs_trajectory = True  # type: ignore[misc]
    made = generating(make_run(root, tmp_path), method)
    batch, _ = made.make(planned(made, 2))
    assert batch["status"].tolist() == ["failed", "failed"]
    assert batch["error"][0].startswith("source: RunError: no trajectory of")


def test_facts_say_what_changed(root: Path, tmp_path: Path) -> None:
    batch, _ = generating(make_run(root, tmp_path), Darken()).make(planned(generating(make_run(root, tmp_path)), 1))
    image, source = (decode_image(batch[name][0], name) for name in ("image_png", "source_png"))
    mask = decode_mask(batch["mask_png"][0], "mask")
    assert np.array_equal(image[mask == 0], source[mask == 0])
    change = np.abs(image.astype(float) - source).mean()
    assert batch["mean_change"][0] == pytest.approx(change, rel=1e-4)
    assert batch["changed_area"][0] == pytest.approx(mask.mean(), rel=0.02)
    assert batch["ssim_outside"][0] > 0.99


def test_write_commits_part_then_marker_and_refuses_half_a_shard(root: Path, tmp_path: Path) -> None:
    run = make_run(root, tmp_path / "run")
    made, folder = generating(run), RunFolder(run.output)
    write = Write(folder, made.plan)
    batch, _ = made.shard(0)
    batch |= embeddings(4)
    half = {name: values[:2] for name, values in batch.items()}
    with pytest.raises(
        RowError, match=r"write shard 0: got 2 rows where the plan has 4 \(0 to 3\); nothing was written"
    ):
        write.commit(0, half, {})
    assert not folder.is_done(0)
    shuffled = {name: values[[2, 0, 3, 1]] for name, values in batch.items()}
    assert write.commit(0, shuffled, {"generate_s": 1.0}) == {
        "shard": 0,
        "rows": 4,
        "made": 4,
        "failed": 0,
        "poisoned": 0,
    }
    marker = folder.done(0)
    assert (marker["first"], marker["stop"], marker["plan"]) == (0, 4, made.plan.fingerprint)
    back = to_batch(folder.read_shard(0))
    assert back["row"].tolist() == [0, 1, 2, 3]
    assert back["image_png"].tolist() == batch["image_png"].tolist()


class Anew(Darken):
    """A new image with a white square, compared with itself less the square."""

    label = 1

    def __call__(self, request: Request) -> Made:
        made = super().__call__(request)
        reference = np.full_like(request.source, 90)
        image, label = reference.copy(), np.zeros_like(request.mask)
        image[:, 4:12, 4:12], label[:, 4:12, 4:12] = 250, self.label
        return replace(made, image=image, label=label, reference=reference)


def test_an_image_made_anew_is_compared_with_what_the_method_says(root: Path, tmp_path: Path) -> None:
    batch, _ = generating(make_run(root, tmp_path / "run"), Anew()).make([one_row(root, tmp_path, 0)])
    assert batch["ssim_outside"][0] == 1.0
    assert batch["changed_area"][0] == pytest.approx(64 / 64**2)


# card 002, 7.7
def test_a_normal_has_no_mask_and_one_whose_label_is_not_empty_fails(root: Path, tmp_path: Path) -> None:
    class Marks(Anew):
        pass

    class Clean(Anew):
        label = 0

    row = one_row(root, tmp_path, 0) | {"kind": "normal", "defect": "good"}
    for method, status in ((Marks(), "failed"), (Clean(), "made")):
        batch, _ = generating(make_run(root, tmp_path / "run"), method).make([dict(row)])
        assert batch["status"][0] == status
        assert not decode_mask(batch["mask_png"][0], "mask").any()
    assert (
        "a normal must have an empty label"
        in generating(make_run(root, tmp_path / "run"), Marks()).make([dict(row)])[0]["error"][0]
    )


def one_row(root: Path, tmp_path: Path, number: int) -> dict[str, Any]:
    run = make_run(root, tmp_path / "run")
    return Plan(run, load_photos(run.data), "m").row(number)
