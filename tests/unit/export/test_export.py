"""An export: the same bytes again, nothing of another's overwritten, nothing said to be done that was not read back."""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from farm.config import ModelConfig
from farm.errors import RunError, StoreError
from farm.export import FORMATS, export_run
from farm.export import output as output_module
from farm.export.licences import model_licence
from farm.export.pictures import label_of
from farm.images import encode_mask
from farm.run_folder import RunFolder
from farm.store import Store
from tests.exports import make_judged_run

ROOT = Path(__file__).resolve().parents[3]
EVERY = pytest.mark.parametrize("name", sorted(FORMATS))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewrite(folder: RunFolder, shard: int, column: str, place: int, value: Any) -> None:
    """Change one value of a shard and commit it again, so that its checksum fits."""
    table = folder.read_shard(shard)
    values = table[column].to_pylist()
    values[place] = value
    number = table.schema.get_field_index(column)
    table = table.set_column(number, column, pa.array(values, table.schema.field(column).type))
    folder.write_shard(shard, table, {"plan": folder.fingerprints()["plan"]})


@EVERY
def test_the_same_run_gives_the_same_bytes_in_any_order_of_shards(name: str, judged: RunFolder, tmp_path: Path) -> None:
    export_run(judged, FORMATS[name], str(tmp_path / "one"))
    other = make_judged_run(tmp_path / "other", order=[2, 0, 1])
    export_run(other, FORMATS[name], str(tmp_path / "two"))
    assert files(tmp_path / "one") == files(tmp_path / "two")


@EVERY
def test_a_repeat_overwrites_itself_and_the_marker_says_what_there_is(name: str, judged: RunFolder, out: Path) -> None:
    first = export_run(judged, FORMATS[name], str(out))
    before = files(out)
    assert export_run(judged, FORMATS[name], str(out)) == first
    assert files(out) == before
    marker = json.loads((out / "export.json").read_text())
    assert marker == first
    assert not (out / "exporting.json").exists()
    listed = [line.split("  ")[1] for path in sorted(out.glob("checksums/*")) for line in path.read_text().splitlines()]
    assert set(listed) == {path for path in before if path != "export.json" and not path.startswith("checksums/")}
    assert marker["files"] == len(listed)
    check = subprocess.run(["sha256sum", "--check", "--quiet", "checksums/00000.txt"], cwd=out, check=False)
    assert check.returncode == 0


@EVERY
def test_an_export_goes_to_an_object_store(name: str, judged: RunFolder, out: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    export_run(judged, FORMATS[name], url)
    export_run(judged, FORMATS[name], str(out))
    store = Store(url)
    assert {name: store.read(name) for name in store.names(".")} == files(out)


def test_a_folder_of_another_export_or_of_anything_is_refused(judged: RunFolder, out: Path, tmp_path: Path) -> None:
    export_run(judged, FORMATS["coco"], str(out))
    before = files(out)
    for form, everything in (("yolo", False), ("coco", True)):
        with pytest.raises(RunError, match=r"out: holds another export; export into an empty folder"):
            export_run(judged, FORMATS[form], str(out), everything=everything)
    assert files(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match=r"mine: holds 'thesis.tex', which no export wrote"):
        export_run(judged, FORMATS["coco"], str(tmp_path / "mine"))


def test_an_interrupted_export_has_no_marker_and_is_written_anew(
    judged: RunFolder, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.write

    def full(self: Store, name: str, data: bytes) -> None:
        if self.root == str(out) and name.startswith("data/") and len(list(out.rglob("*.png"))) >= 5:
            raise StoreError("no room")
        write(self, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", full)
        with pytest.raises(StoreError, match="no room"):
            export_run(judged, FORMATS["coco"], str(out))
    assert not (out / "export.json").exists()
    assert (out / "exporting.json").exists()
    export_run(judged, FORMATS["coco"], str(out))
    export_run(judged, FORMATS["coco"], str(tmp_path / "whole"))
    assert files(out) == files(tmp_path / "whole")


@pytest.mark.parametrize("harm", ["changed", "added", "removed"])
def test_what_was_written_is_read_back_before_it_is_done(
    judged: RunFolder, out: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    hold = output_module.hold_output

    def after_harm(store: Store, done: Any) -> None:
        path = next((out / "data").glob("*.png"))
        if harm == "changed":
            path.write_bytes(path.read_bytes()[:-1] + b"x")
        elif harm == "added":
            (out / "data" / "more.png").write_bytes(b"x")
        else:
            path.unlink()
        hold(store, done)

    monkeypatch.setattr("farm.export.run.hold_output", after_harm)
    text = {
        "changed": r"data/.*png: is not what was written; another program writes there",
        "added": r"holds \d+ files where this export has \d+; a reader would take others for its own",
        "removed": r"data/.*png: is missing, though it was written",
    }[harm]
    with pytest.raises(RunError, match=text):
        export_run(judged, FORMATS["coco"], str(out))
    assert not (out / "export.json").exists()


def test_lists_are_written_in_parts(judged: RunFolder, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "LIST_LINES", 4)
    done = export_run(judged, FORMATS["yolo"], str(out))
    lists = sorted((out / "checksums").iterdir())
    assert [path.name for path in lists] == [f"{number:05d}.txt" for number in range(-(-done["files"] // 4))]
    assert {len(path.read_text().splitlines()) for path in lists[:-1]} == {4}


@pytest.mark.parametrize("name", ["mvtec", "yolo"])
def test_all_is_refused_where_a_verdict_has_no_room(judged: RunFolder, out: Path, name: str) -> None:
    with pytest.raises(RunError, match=rf"{name}: has no room for verdicts.*export to webdataset, huggingface or coco"):
        export_run(judged, FORMATS[name], str(out), everything=True)
    assert not out.exists()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("image_png", b"\x89PNG half", "image: is not a picture that can be read"),
        ("image_png", b"", "image: is not a picture that can be read"),
        ("label_png", encode_mask(np.zeros((8, 8))), r"image \(64, 64\) and mask \(8, 8\) must have"),
    ],
)
def test_a_bad_picture_names_its_shard_and_what_mends_it(tmp_path: Path, column: str, value: bytes, said: str) -> None:
    folder = make_judged_run(tmp_path)
    rewrite(folder, 1, column, 0, value)
    with pytest.raises(RunError, match=rf"shard-000001, [0-9a-f]{{16}}: {said}.*Run 'farm verify .* --repair'"):
        export_run(folder, FORMATS["coco"], str(tmp_path / "out"))
    assert not (tmp_path / "out" / "export.json").exists()


def test_a_flipped_byte_of_a_part_stops_the_export(tmp_path: Path) -> None:
    folder = make_judged_run(tmp_path)
    path = folder.store.local("candidates/shard-000001/part.parquet")
    path.write_bytes(path.read_bytes()[:-100] + b"x" * 100)
    with pytest.raises(RunError, match=r"shard-000001/part.parquet: its checksum is not its marker's.*--repair"):
        export_run(folder, FORMATS["yolo"], str(tmp_path / "out"))


def test_a_normal_whose_mask_marks_something_is_an_error(tmp_path: Path) -> None:
    folder = make_judged_run(tmp_path)
    rewrite(folder, 0, "label_png", 4, folder.read_shard(0)["label_png"][0].as_py())
    with pytest.raises(RunError, match=r"shard-000000, .*: a normal whose mask marks \d+ pixels as a defect"):
        export_run(folder, FORMATS["mvtec"], str(tmp_path / "out"))


def test_a_defect_called_good_cannot_pass_for_a_normal() -> None:
    assert label_of("normal", "good") == "good"
    assert label_of("defect", "Cut / ../x") == "cut_x"
    with pytest.raises(RunError, match="a defect is named 'Good', which readers of every format take for no defect"):
        label_of("defect", "Good")


def test_a_kept_defect_whose_mask_marks_nothing_is_left_out_and_counted(tmp_path: Path) -> None:
    folder = make_judged_run(tmp_path)
    rewrite(folder, 0, "label_png", 0, folder.read_shard(0)["label_png"][4].as_py())
    done = export_run(folder, FORMATS["coco"], str(tmp_path / "out"))
    assert done["unmarked"] == 1
    assert f"{folder.read_shard(0)['sample_id'][0]}.png" not in files(tmp_path / "out")
    assert "1 kept defects are left out" in (tmp_path / "out" / "README.md").read_text()


def test_a_kept_row_without_its_shard_is_an_error(tmp_path: Path) -> None:
    folder = make_judged_run(tmp_path)
    folder.forget_shard(1)
    with pytest.raises(RunError, match=r"rows are kept but \d+ of them are in committed shards"):
        export_run(folder, FORMATS["coco"], str(tmp_path / "out"))


def test_a_run_that_is_not_judged_is_an_error(tmp_path: Path) -> None:
    folder = make_judged_run(tmp_path)
    folder.store.remove(folder.verdict_name("verdicts.parquet"))
    with pytest.raises(RunError, match="is not judged yet"):
        export_run(folder, FORMATS["coco"], str(tmp_path / "out"))


@EVERY
def test_no_text_of_a_user_names_a_file(name: str, tmp_path: Path) -> None:
    hostile = "../../plate <b>| x\n# y"
    data = {"kind": "mvtec", "root": str(tmp_path / "plates"), "category": hostile}
    folder = make_judged_run(tmp_path, data=data)
    before = set(files(tmp_path))
    export_run(folder, FORMATS[name], str(tmp_path / "out"), with_sources=True)
    added = {path for path in set(files(tmp_path)) - before if not path.startswith("run/facts/")}
    assert all(path.startswith("out/") for path in added)
    assert not any(set("<>|# ") & set(path) for path in added)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "<b>" not in card
    assert "\n# y" not in card


def test_the_card_says_what_it_is_made_of(judged: RunFolder, out: Path) -> None:
    export_run(judged, FORMATS["huggingface"], str(out), with_sources=True)
    card = (out / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "other"
    assert head["size_categories"] == ["n<1K"]
    prints = judged.fingerprints()
    for said in (
        prints["plan"],
        prints["judge"],
        judged.settings()["commit"].split("+")[0],
        "| photograph | good | 12 |",
    ):
        assert said in card
    assert "Photographs that the run learned from or painted on: unknown. Normals of its training split are" in card
    assert "Base model: none was used" in card
    assert "| unchanged | 6 |" in card
    assert str(judged.store.root) not in card
    assert judged.run().data.root not in card  # type: ignore[operator]


def test_the_licence_of_a_model_is_what_its_card_says(tmp_path: Path) -> None:
    assert model_licence(ModelConfig()) == "Apache-2.0"
    assert model_licence(ModelConfig(path=str(tmp_path))) == "unknown"
    (tmp_path / "README.md").write_text("---\nlicense: openrail++\n---\n# Model\n")
    assert model_licence(ModelConfig(path=str(tmp_path))) == "openrail++"
    (tmp_path / "README.md").write_text("---\nlicense: [\n---\n")
    assert model_licence(ModelConfig(path=str(tmp_path))) == "unknown"


MEASURE = """
import sys, tracemalloc
import pyarrow as pa
from farm.export import FORMATS, export_run
from farm.run_folder import RunFolder
tracemalloc.start()
export_run(RunFolder(sys.argv[1]), FORMATS[sys.argv[2]], sys.argv[3], shard_bytes=2**20)
print((tracemalloc.get_traced_memory()[1] + pa.default_memory_pool().max_memory()) // 1024)
"""  # the peak of Python's and Arrow's memory; a child's ru_maxrss begins at its parent's, so it shows nothing
GROWTH_KIB = 4 * 1024  # for 1,333 pictures more: 6 MB of PNG, and as much again of decoded masks


@pytest.fixture(scope="module")
def long_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, RunFolder]:
    return {rows: make_judged_run(tmp_path_factory.mktemp(f"rows{rows}"), rows, 100) for rows in (1000, 3000)}


@EVERY
def test_memory_does_not_grow_with_the_pictures(name: str, long_runs: dict[int, RunFolder], tmp_path: Path) -> None:
    peaks = {}
    for rows, folder in long_runs.items():
        command = [sys.executable, "-c", MEASURE, folder.store.root, name, str(tmp_path / str(rows))]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        peaks[rows] = int(done.stdout)
    assert peaks[3000] - peaks[1000] < GROWTH_KIB, peaks


def test_the_job_exports_and_says_so_in_json(judged: RunFolder, out: Path) -> None:
    job = [sys.executable, "-m", "jobs.export", judged.store.root, "--out", str(out)]
    done = subprocess.run([*job, "--to", "coco", "--json"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == json.loads((out / "export.json").read_text())
    refused = subprocess.run([*job, "--to", "yolo"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"farm: {out}: holds another export; export into an empty folder")


def test_the_job_knows_every_format() -> None:
    from jobs.export import FORMATS as NAMES

    assert tuple(NAMES) == tuple(FORMATS)
