from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from farm.config import DataConfig
from farm.datasets import load_photos, read_photo, textile
from farm.errors import DataError
from farm.images import decode_image
from tests.trees import save_photo


def config(root: Path | None = None, **changes: object) -> DataConfig:
    tree = {"kind": "textile", "root": None if root is None else str(root), "category": "textile"}
    return DataConfig.model_validate(tree | changes)


def test_a_small_tree(textile: Path) -> None:
    photos = load_photos(config(textile))
    assert len(photos.train) == 3
    assert [photo.relative for photo in photos.shots] == ["local/textile_0001.jpg", "global/textile_0001.jpg"]
    assert Counter(photo.defect for photo in photos.test) == {"local": 2, "global": 2}
    assert load_photos(config(textile, few_shot="none")).shots == ()
    (textile / "few_shot.txt").write_text("global/textile_0003.jpg\n")
    assert [photo.relative for photo in load_photos(config(textile)).shots] == ["global/textile_0003.jpg"]


def test_five_hundred_normals_train(textile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.datasets.textile.TRAIN_COUNT", 2)
    photos = load_photos(config(textile))
    assert [photo.relative for photo in photos.test if photo.is_good] == ["nominal/textile_0003.jpg"]


def test_the_white_line_is_cut(textile: Path) -> None:
    photo = load_photos(config(textile)).train[0]
    whole = decode_image(Path(photo.path).read_bytes(), "x")
    assert np.array_equal(read_photo(photo, 15), whole[:15, :15])


def test_no_other_photograph_is_cut(plain: Path) -> None:
    save_photo(plain / "good" / "textile_0001.jpg")
    photos = load_photos(DataConfig(kind="folder", root=str(plain), category="part", few_shot="none"))
    assert {textile.border_px(photo) for photo in (*photos.train, *photos.test)} == {0}


def test_a_missing_package_and_a_missing_folder_say_what_to_do(textile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"local: expected nominal/, local/ and global/; found no folder\. Mend data"):
        load_photos(config(textile / "local"))
    monkeypatch.setattr("farm.datasets.textile.PACKAGE", "package_that_nobody_wrote")
    with pytest.raises(DataError) as caught:
        load_photos(config())
    assert str(caught.value) == (
        "data.kind 'textile': the package conformal-clip-data is not installed; pip install defectfarm[demo]"
    )


def test_the_package() -> None:
    pytest.importorskip("conformal_clip_data", reason="the demo photographs are not installed (extra demo)")
    photos = load_photos(config(max_train=20, max_test=20))
    assert photos.licence == "MIT License"
    assert (len(photos.train), len(photos.shots), len(photos.test)) == (20, 332, 60)
    assert {Path(photo.path).name for photo in photos.train} <= {f"textile_{n:04d}.jpg" for n in range(1, 501)}
    for photo in (*photos.train, *photos.test):
        whole = decode_image(Path(photo.path).read_bytes(), "x")
        assert whole[-1].mean() > 240  # the line that is cut
        assert whole[:, -1].mean() > 240
        cut = read_photo(photo, 249)
        assert cut[-1].mean() < 180
        assert cut[:, -1].mean() < 180
