from dataclasses import replace

import pytest

from farm.datasets.groups import group_photos
from farm.datasets.photo import PhotoSet, ShotPhoto, TestPhoto, TrainPhoto, photo_id
from farm.errors import DataError


def fields(name: str, defect: str | None = None) -> dict[str, str | None]:
    return {
        "photo_id": photo_id("part", name),
        "path": f"/there/{name}",
        "relative": name,
        "category": "part",
        "defect": defect,
        "mask_path": None,
        "group": name,
        "sha256": f"content of {name}",
    }


def photo_set(train: list[TrainPhoto], shots: list[ShotPhoto], test: list[TestPhoto]) -> PhotoSet:
    return PhotoSet(tuple(train), tuple(shots), tuple(test), (), "part", "MIT")


A, B, C = TrainPhoto(**fields("a")), ShotPhoto(**fields("b", "dent")), TestPhoto(**fields("c"))  # type: ignore[arg-type]


def test_a_set_of_different_photographs() -> None:
    photos = photo_set([A], [B], [C])
    assert photos.fingerprint == photo_set([A], [B], [C]).fingerprint
    assert len(photos.fingerprint) == 16
    assert list(photos.splits()) == ["train", "shots", "test"]


@pytest.mark.parametrize("key", ["photo_id", "path", "sha256"])
def test_splits_share_no_id_no_path_and_no_content(key: str) -> None:
    for other, split in ((A, "train"), (B, "shots")):
        twin = replace(C, **{key: getattr(other, key)})
        same = "" if key == "path" else rf" \(the same picture as {other.relative}\)"
        with pytest.raises(DataError, match=f"photo c is in both {split} and test{same}$"):
            photo_set([A], [B], [twin])
    with pytest.raises(DataError, match="photo b is in both train and shots"):
        photo_set([A], [replace(B, **{key: getattr(A, key)})], [C])


def test_twenty_pairs_are_listed() -> None:
    test = [replace(C, photo_id=str(n), path=str(n), relative=str(n), sha256=A.sha256) for n in range(23)]
    with pytest.raises(DataError) as caught:
        photo_set([A], [B], test)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("part: 23 photograph(s) are in two splits")
    assert len(lines) == 22
    assert lines[-1] == "  and 3 more"


def test_types_hold_what_they_say() -> None:
    with pytest.raises(DataError, match="/there/x: shows 'dent'; only normal photographs are for training"):
        TrainPhoto(**fields("x", "dent"))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="/there/x: is normal; only photographs of defects are few-shot"):
        ShotPhoto(**fields("x"))  # type: ignore[arg-type]


def test_groups_follow_tiles_and_places_else_the_photograph() -> None:
    assert group_photos(
        [
            "train/good/exp1_num_100.jpg",
            "test/crack/exp2_num_350.jpg",
            "test/good/exp3_num_601.jpg",
            "test/pitting/277500_315_200828110014_R.jpg",
            "test/crack/000.png",
            "test/good/000.png",
        ]
    ) == {
        "train/good/exp1_num_100.jpg": "tile_100",
        "test/crack/exp2_num_350.jpg": "tile_100",  # 250 on
        "test/good/exp3_num_601.jpg": "tile_601",  # 251 on
        "test/pitting/277500_315_200828110014_R.jpg": "place_277500_315",
        "test/crack/000.png": "test/crack/000",
        "test/good/000.png": "test/good/000",
    }
