"""One sample made again from its row alone; the run is that of ``test_verify``."""

from pathlib import Path

import pytest

from farm.errors import RunError
from farm.images import decode_image, encode_png
from farm.parts import to_batch, to_table
from farm.prepare import prepare
from farm.reproduce import reproduce
from farm.rows import ENCODED
from farm.run_folder import RunFolder
from farm.stages.generate import Generate
from farm.stages.write import Write
from tests.photos import make_run, make_tree
from tests.stages import embeddings


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Ten rule-made rows; shard 2 (rows 8 and 9) is not committed."""
    folder, plan = prepare(make_run(make_tree(tmp_path / "plates"), tmp_path / "run"))
    stage, write = Generate(plan.run, plan.photos, plan, lambda arm, photo: None), Write(folder, plan)
    for shard in (0, 1):
        batch, _ = stage.shard(shard)
        write.commit(shard, batch | embeddings(4), {})
    return folder


def change(folder: RunFolder, row: int, **values: object) -> None:
    """Put other values into a committed row, checksum and all."""
    shard = row // 4
    batch = {name: column.copy() for name, column in to_batch(folder.read_shard(shard)).items()}
    for name, value in values.items():
        batch[name][row % 4] = value  # type: ignore[call-overload]
    marker = {key: value for key, value in folder.done(shard).items() if key not in ("shard", "bytes", "sha256")}
    folder.write_shard(shard, to_table(batch, ENCODED), marker)


def test_a_row_comes_out_again_byte_for_byte_by_number_or_id(folder: RunFolder) -> None:
    by_number = reproduce(folder, "6")
    assert by_number.same
    assert by_number.lines() == [f"row 6, {by_number.sample_id}: equal, byte for byte"]
    assert reproduce(folder, by_number.sample_id).row == 6
    assert {"image_png", "label_png", "mask_png", "source_png", "seed", "status"} <= by_number.equal.keys()


def test_a_changed_pixel_is_found_with_how_much_and_where(folder: RunFolder) -> None:
    image = decode_image(reproduce(folder, "2").stored["image_png"], "image").copy()
    image[3, 5, 1] += 4 if image[3, 5, 1] < 250 else -4
    change(folder, 2, image_png=encode_png(image), evaluations=9)
    found = reproduce(folder, "2")
    assert not found.same
    assert found.pixels == {"image_png": (4, pytest.approx(1 / image.size))}
    assert found.lines()[1:] == [
        "  evaluations: stored 9, made 0",
        f"  image_png: {100 / image.size:.3f} % of the values differ, by 4 of 255 at most",
    ]


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ("9", r"row 9 is in shard 2, which is not committed yet"),
        ("0123456789abcdef", r"no committed row has the id '0123456789abcdef'; give a sample id .* from 0 to 9"),
        ("10", r"no committed row has the id '10'"),
    ],
)
def test_what_is_not_there_is_said(folder: RunFolder, sample: str, words: str) -> None:
    with pytest.raises(RunError, match=words):
        reproduce(folder, sample)


def test_a_poisoned_row_is_not_made(folder: RunFolder) -> None:
    change(folder, 1, status="poisoned", error="poisoned: 3 workers died")
    with pytest.raises(RunError, match="row 1: poisoned: 3 workers died; it is not made here"):
        reproduce(folder, "1")


def test_a_run_of_another_plan_version_is_not_compared(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.plan.PLAN_VERSION", 99)
    with pytest.raises(RunError, match="another version of the farm"):
        reproduce(folder, "0")
