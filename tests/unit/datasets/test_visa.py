from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.config import DataConfig
from farm.datasets import PhotoSet, load_photos, read_channels, read_mask
from farm.errors import DataError
from tests.layouts import drawn, make_visa, make_visa_converted, save_numbers
from tests.trees import save_photo

UNION = drawn((0, 2, 0, 2), (8, 12, 8, 12))


@pytest.fixture
def visa(tmp_path: Path) -> Path:
    return make_visa(tmp_path / "VisA")


def load(root: Path, **changes: Any) -> PhotoSet:
    settings = {"kind": "visa", "root": str(root), "category": "pcb1", "few_shot": "none"}
    return load_photos(DataConfig.model_validate(settings | changes))


def replace_in(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def reason(root: Path) -> str:
    """Why the one bad photograph is refused."""
    (bad,) = load(root, max_bad_fraction=0.2).refused
    return bad.reason


def test_the_table_splits_and_the_labels_name_the_defects(visa: Path) -> None:
    photos = load(visa, max_bad_fraction=0.0)
    assert [photo.relative for photo in photos.train] == [f"Data/Images/Normal/{n:04d}.JPG" for n in (0, 2)]
    assert {photo.relative: photo.defect for photo in photos.test} == {
        "Data/Images/Normal/0001.JPG": None,
        "Data/Images/Anomaly/000.JPG": "bent",
        "Data/Images/Anomaly/001.JPG": "melt",
        "Data/Images/Anomaly/002.JPG": "combined",
    }
    assert photos.refused == ()
    assert photos.licence == "CC BY 4.0"
    (visa.parent / "LICENSE-DATASET").write_text("As the owner says\n")
    assert load(visa).licence == "As the owner says"


def test_any_class_in_a_mask_is_defect(visa: Path) -> None:
    for photo in (photo for photo in load(visa).test if photo.defect):
        assert np.array_equal(read_mask(photo, 16), UNION)
        assert np.array_equal(read_channels(photo).masks, UNION[None])
        assert read_channels(photo).saturations.tolist() == [20.0]
        assert photo.mask_path == str(visa / "Data" / "Masks" / "Anomaly" / f"{Path(photo.path).stem}.png")


def test_a_type_of_defect_can_be_chosen(visa: Path) -> None:
    assert Counter(photo.defect for photo in load(visa, defects=("melt",)).test) == {None: 1, "melt": 1}
    with pytest.raises(DataError, match=r"no defect folder rust; found bent, combined, melt\. Mend data\.defects"):
        load(visa, defects=("rust",))


@pytest.mark.parametrize(("count", "shots"), [(1, 1), (2, 1), (3, 1), (4, 1), (9, 3), (10, 3)])
def test_the_first_third_of_each_type_is_few_shot(tmp_path: Path, count: int, shots: int) -> None:
    root = make_visa(tmp_path / "VisA", ["melt"] * count + ["bent"] * 4)
    table = root.parent / "split_csv" / "1cls.csv"
    first, *lines = table.read_text().splitlines()
    table.write_text("\n".join([first, *reversed(lines)]))  # the published table is in no order
    photos = load(root, few_shot="third")
    melted = [photo.relative for photo in photos.shots if photo.defect == "melt"]
    assert melted == [f"Data/Images/Anomaly/{n:03d}.JPG" for n in range(shots)]
    assert Counter(photo.defect for photo in photos.shots) == {"melt": shots, "bent": 1}
    assert Counter(photo.defect for photo in photos.test) == Counter({None: 1, "melt": count - shots, "bent": 3})
    assert not {photo.photo_id for photo in photos.shots} & {photo.photo_id for photo in photos.test}


def test_what_the_table_does_not_name_is_let_be(visa: Path) -> None:
    save_photo(visa / "Data" / "Images" / "Normal" / "9999.png")
    make_visa(visa.parent, name="pcb2")
    text = (visa.parent / "split_csv" / "1cls.csv").read_text()
    make_visa(visa.parent)
    table = visa.parent / "split_csv" / "1cls.csv"
    table.write_text(table.read_text() + text.split("\n", 1)[1])
    assert len(load(visa).train) == 2
    assert {photo.relative for photo in load(visa.parent / "pcb2").train} == {
        photo.relative for photo in load(visa).train
    }


def test_a_line_that_names_an_absent_file_is_refused(visa: Path) -> None:
    (visa / "Data" / "Images" / "Normal" / "0002.JPG").unlink()
    assert reason(visa) == (
        "split_csv/1cls.csv: pcb1/Data/Images/Normal/0002.JPG: is not there; copy it again, or take its line out"
    )


@pytest.mark.parametrize(
    "entry",
    [
        "../secret.JPG",
        "pcb1/../secret.JPG",
        "pcb1/Data/../../../secret.JPG",
        "pcb1/Data/../Data/Images/Normal/0002.JPG",
        "/etc/passwd",
        "{root}/Data/Images/Normal/0002.JPG",
        "pcb2/Data/Images/Normal/0002.JPG",
        "pcb1/Data/link.JPG",
        "",
    ],
)
def test_a_path_that_leaves_the_root_is_refused(visa: Path, entry: str) -> None:
    entry = entry.format(root=visa)
    save_photo(visa.parent / "secret.JPG")
    save_photo(visa.parent.parent / "secret.JPG")
    (visa / "Data" / "link.JPG").symlink_to(visa.parent / "secret.JPG")
    replace_in(visa.parent / "split_csv" / "1cls.csv", "pcb1/Data/Images/Normal/0002.JPG", entry)
    assert reason(visa) == f"split_csv/1cls.csv: {entry}: leaves {visa}; name files below it, as pcb1/Data"


def test_a_mask_that_leaves_the_root_is_refused(visa: Path) -> None:
    save_numbers(visa.parent / "secret.png", [(1, (0, 4, 0, 4))])
    table = visa.parent / "split_csv" / "1cls.csv"
    replace_in(table, "pcb1/Data/Masks/Anomaly/000.png", "pcb1/../secret.png")
    assert reason(visa) == f"split_csv/1cls.csv: pcb1/../secret.png: leaves {visa}; name files below it, as pcb1/Data"
    replace_in(table, "pcb1/../secret.png", "")
    assert reason(visa) == (
        "split_csv/1cls.csv: pcb1/Data/Images/Anomaly/000.JPG: has no mask; copy the table again from the published set"
    )


def test_a_missing_mask_an_empty_one_and_one_of_another_size_are_refused(visa: Path) -> None:
    mask = visa / "Data" / "Masks" / "Anomaly" / "001.png"
    mask.unlink()
    assert reason(visa) == "Data/Masks/Anomaly/001.png: the mask is missing; draw it, or remove the photograph"
    save_numbers(mask, [])
    assert reason(visa).startswith("Data/Masks/Anomaly/001.png: the mask is empty (all 0); mark the defect")
    save_numbers(mask, [(1, (0, 4, 0, 4))], side=20)
    assert "001.png: the mask has 20 x 20 px but its photograph 16 x 16" in reason(visa)


def test_tables_that_contradict_each_other_are_told(visa: Path) -> None:
    table, labels = visa.parent / "split_csv" / "1cls.csv", visa / "image_anno.csv"
    replace_in(labels, '"melt"', "normal")
    assert reason(visa) == (
        "image_anno.csv: calls pcb1/Data/Images/Anomaly/001.JPG 'normal', but split_csv/1cls.csv an anomaly; mend one"
    )
    replace_in(labels, "pcb1/Data/Images/Anomaly/001.JPG,normal", "pcb1/Data/Images/Anomaly/077.JPG,melt")
    assert reason(visa) == (
        "image_anno.csv: has no line of pcb1/Data/Images/Anomaly/001.JPG; take the table and the split from one version"
    )
    replace_in(labels, "077.JPG", "001.JPG")
    replace_in(
        table,
        "pcb1,test,anomaly,pcb1/Data/Images/Anomaly/001.JPG",
        "pcb1,train,anomaly,pcb1/Data/Images/Anomaly/001.JPG",
    )
    assert reason(visa) == (
        "split_csv/1cls.csv: pcb1/Data/Images/Anomaly/001.JPG: is of split 'train' and label 'anomaly'; in this split "
        "normal ones are of train or test, and an anomaly is of test"
    )


def test_a_photograph_that_is_named_twice_is_one(visa: Path) -> None:
    table = visa.parent / "split_csv" / "1cls.csv"
    table.write_text(table.read_text() + "pcb1,test,normal,pcb1/Data/Images/Normal/0000.JPG,\n")
    assert reason(visa) == "split_csv/1cls.csv: pcb1/Data/Images/Normal/0000.JPG: is named twice; take one line out"
    assert len(load(visa, max_bad_fraction=0.2).train) == 2


@pytest.mark.parametrize("name", ["split_csv/1cls.csv", "pcb1/image_anno.csv"])
def test_a_table_that_is_missing_or_no_table_is_an_error(visa: Path, name: str) -> None:
    table = visa.parent / name
    table.write_text("picture;kind\n")
    with pytest.raises(
        DataError, match=rf"{name}: its first line has no .*image.*; found picture;kind\. Copy it again"
    ):
        load(visa)
    table.write_bytes(b'image,label,mask,object,split\n"' + b"x" * 200_000 + b'"\n')
    with pytest.raises(DataError, match=rf"{name}: after line 1: field larger than field limit .*; copy it again from"):
        load(visa)
    table.unlink()
    with pytest.raises(DataError, match=rf"{name}: is missing; copy it from the published set, where it has .*image"):
        load(visa)


def test_the_folder_must_be_called_as_its_object(visa: Path) -> None:
    with pytest.raises(
        DataError, match=r"1cls\.csv: has no line of the object 'board'; found pcb1\. Call the folder as"
    ):
        load(visa.rename(visa.parent / "board"))


def test_the_converted_layout(tmp_path: Path) -> None:
    root = make_visa_converted(tmp_path / "1cls" / "pcb1")
    photos = load(root, few_shot="third", max_bad_fraction=0.0)
    assert [photo.relative for photo in photos.train] == [f"train/good/{n:03d}.JPG" for n in range(3)]
    assert [photo.relative for photo in photos.shots] == ["test/bad/000.JPG"]
    assert Counter(photo.defect for photo in photos.test) == {None: 3, "bad": 2}
    assert np.array_equal(read_mask(photos.shots[0], 16), drawn((4, 8, 4, 8)))
    assert photos.licence == "CC BY 4.0"


def test_the_folder_above_is_told_which_is_right(visa: Path) -> None:
    with pytest.raises(
        DataError, match=rf"is not in the VisA layout; .*found pcb1, split_csv\. Set data\.root to {visa}$"
    ):
        load(visa.parent)
    converted = make_visa_converted(visa.parent.parent / "1cls" / "pcb1")
    with pytest.raises(DataError, match=rf"Set data\.root to {converted}$"):
        load(converted.parent, category="candle")
