"""Folders as people leave them: hostile names, links, pipes, locked files, lists from other editors, leaks."""

import os
import shutil
import threading
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from farm.datasets import read_photo
from farm.errors import DataError
from farm.report import build_report
from farm.run_folder import RunFolder
from farm.source_index import read_index, write_index
from tests.factories import make_run_folder
from tests.trees import load_folder, plain_folder, save_photo

NAMES = [
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "写真",
    "🔥 hot",
    "صورة",
    "a\nb",
    "-rf",
    "--help",
    'it\'s "quoted"',
    "a..b..",
    "%2e%2e%2fetc%2fpasswd",
    "<script>steal()<",
    "a\tb",
    "x" * 240,
    "$(reboot)",
    "a;b&c|d",
    "C:\\windows",
    "{{ 7*7 }}",
    "١٢٣",
]


def test_hostile_and_foreign_names_are_names(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", NAMES)
    photos = load_folder(root)
    assert photos.refused == ()
    dents = {photo.relative: photo for photo in photos.test if photo.defect}
    assert sorted(dents) == sorted(f"dent/{name}.png" for name in NAMES)
    assert len({photo.photo_id for photo in dents.values()}) == len(dents)  # composed and decomposed are two files
    for name in NAMES:
        photo = dents[f"dent/{name}.png"]
        assert photo.mask_path == str(root / "masks" / "dent" / f"{name}.png")
        assert read_photo(photo, 16).shape == (16, 16, 3)


def test_hostile_names_survive_the_index_and_leave_no_file_behind(tmp_path: Path) -> None:
    photos = load_folder(plain_folder(tmp_path / "part", NAMES))
    folder = RunFolder(str(tmp_path / "run"))
    write_index(folder, photos)
    assert read_index(folder) == photos
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part", "run"]
    assert list(folder.store.names("sources")) == ["sources/index.parquet"]


def test_a_script_in_a_file_name_is_text_on_the_page(tmp_path: Path) -> None:
    folder = make_run_folder(tmp_path, rows=8, photo_name="<script>steal()<{:03d}>.png")
    build_report(folder)
    page = folder.store.read("report/index.html").decode()
    assert "<script>steal()" not in page
    assert "&lt;script&gt;steal()" in page


def test_a_name_that_is_no_unicode_is_refused_in_words_that_can_be_written(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    raw = os.fsencode(root / "good") + b"/caf\xe9.png"  # Latin-1, as an old camera or archive names it
    try:
        shutil.copy(root / "good" / "0.png", raw)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    photos = load_folder(root)
    (bad,) = photos.refused
    assert bad.reason == "good/caf\\udce9.png: the name is not Unicode text (UTF-8); rename the file or its folder"
    folder = RunFolder(str(tmp_path / "run"))
    write_index(folder, photos)
    assert read_index(folder).refused == photos.refused


def refused(root: Path) -> dict[str, str]:
    return {Path(bad.path).name: bad.reason for bad in load_folder(root).refused}


def test_links_out_of_the_root_in_a_ring_or_to_nothing_are_refused(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    save_photo(tmp_path / "secret.png")
    (root / "good" / "7.png").symlink_to(tmp_path / "secret.png")
    (root / "good" / "8.png").symlink_to(root / "good" / "8.png")
    (root / "good" / "9.png").symlink_to(root / "good" / "gone.png")
    found = refused(root)
    assert found["7.png"] == f"good/7.png: is a link that leaves {root}; copy the file instead"
    assert found["8.png"] == f"good/8.png: is a link that leaves {root}; copy the file instead"
    assert found["9.png"].startswith("good/9.png: is missing or not a regular file; pictures lie directly")
    assert len(found) == 3


def test_a_folder_of_photographs_that_is_a_link_out_of_the_root_gives_none(tmp_path: Path) -> None:
    root, other = plain_folder(tmp_path / "part", ["a"]), plain_folder(tmp_path / "other", ["b"])
    (root / "hole").symlink_to(other / "dent")
    assert refused(root) == {"b.png": f"hole/b.png: is a link that leaves {root}; copy the file instead"}


def test_a_link_inside_the_root_is_a_photograph(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    (root / "shelf").mkdir()
    (root / "good" / "0.png").rename(root / "shelf" / "0.png")
    (root / "good" / "0.png").symlink_to(root / "shelf" / "0.png")
    photos = load_folder(root, defects=["dent"])
    assert photos.refused == ()
    assert photos.train[0].relative == "good/0.png"


@pytest.mark.timeout(60)
def test_a_pipe_or_a_folder_that_is_named_like_a_picture_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    os.mkfifo(root / "good" / "7.png")
    (root / "good" / "8.png").mkdir()
    os.mkfifo(root / "README.md")
    found = refused(root)
    assert found["7.png"].startswith("good/7.png: is missing or not a regular file")
    assert found["8.png"] == "good/8.png: is a folder; pictures lie directly in the folder of their class"
    assert len(found) == 2


@pytest.mark.timeout(60)
def test_a_photograph_that_becomes_a_pipe_later_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    photo = load_folder(plain_folder(tmp_path / "part", ["a"])).train[0]
    Path(photo.path).unlink()
    os.mkfifo(photo.path)
    said: list[str] = []

    def read() -> None:
        with pytest.raises(DataError) as caught:
            read_photo(photo, 16)
        said.append(str(caught.value))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(30)
    assert said == [
        f"{photo.path}: is missing or not a regular file; pictures lie directly in the folder of their class"
    ]


def locked(monkeypatch: pytest.MonkeyPatch, function: str, name: str) -> None:
    """``os.<function>`` of a path that ends in ``name`` is denied: the tests may run as root, whom no right stops."""
    real = getattr(os, function)

    def deny(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).endswith(name):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, function, deny)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    locked(monkeypatch, "open", "good/0.png")
    assert refused(root) == {"0.png": "good/0.png: cannot be read (Permission denied); mend its permissions"}


def test_a_folder_that_may_not_be_listed_stops_the_run_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    locked(monkeypatch, "listdir", "/good")
    locked(monkeypatch, "scandir", "/good")
    with pytest.raises(DataError) as caught:
        load_folder(root)
    assert str(caught.value) == f"{root / 'good'}: cannot be read (Permission denied); mend its permissions"


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"exactly one of good/ and normal/ must be there; .*found no folder"):
        load_folder(tmp_path)
    (tmp_path / "good").mkdir()
    with pytest.raises(DataError, match="no normal photograph to learn from; put defect-free pictures there"):
        load_folder(tmp_path)


def test_the_same_picture_twice_in_one_split_is_two_photographs(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    shutil.copy(root / "good" / "0.png", root / "good" / "1.png")
    photos = load_folder(root)
    assert photos.train[0].sha256 == photos.train[1].sha256
    assert photos.train[0].photo_id != photos.train[1].photo_id


def test_the_same_picture_in_training_and_test_is_a_leak(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    shutil.copy(root / "good" / "0.png", root / "dent" / "a.png")
    with pytest.raises(DataError, match=r"photo dent/a\.png is in both train and test \(the same picture as good/0"):
        load_folder(root)


LISTS = {
    "byte_order_mark": b"\xef\xbb\xbfdent/a.png\n",
    "windows_line_ends": b"dent/a.png\r\n\r\n# taken by hand\r\n",
    "old_mac_line_ends": b"# list\rdent/a.png\r",
    "duplicates": b"dent/a.png\ndent/a.png\n./dent/a.png\n",
    "blanks_and_no_last_line_end": b"  \n\tdent/a.png  ",
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_of_another_editor_names_the_same_photographs(kind: str, tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a", "b"])
    (root / "few_shot.txt").write_bytes(LISTS[kind])
    photos = load_folder(root, few_shot="few_shot.txt")
    assert [photo.relative for photo in photos.shots] == ["dent/a.png"]
    assert photos.refused == ()


@pytest.mark.parametrize(("written", "named"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_a_list_may_write_an_accent_as_one_sign_or_as_two(written: str, named: str, tmp_path: Path) -> None:
    def name(form: Any) -> str:
        return unicodedata.normalize(form, "défaut")

    root = plain_folder(tmp_path / "part", [name(written), "b"])
    (root / "few_shot.txt").write_text(f"dent/{name(named)}.png\n", encoding="utf-8")
    shots = load_folder(root, few_shot="few_shot.txt").shots
    assert [photo.relative for photo in shots] == [f"dent/{name(written)}.png"]


def test_of_two_spellings_on_the_disk_a_list_means_its_own(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    root = plain_folder(tmp_path / "part", [one, two])
    for name in (one, two):
        (root / "few_shot.txt").write_text(f"dent/{name}.png\n", encoding="utf-8")
        assert [photo.relative for photo in load_folder(root, few_shot="few_shot.txt").shots] == [f"dent/{name}.png"]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("dent/gone.png", r"1 line\(s\) name no photograph of a defect: dent/gone\.png\. Each line is a path below"),
        ("good/0.png", r"1 line\(s\) name no photograph of a defect: good/0\.png"),
        ("dent/" + "y" * 70_000 + ".png", r"1 line\(s\) name no photograph of a defect: dent/yyy"),
        ("dent/a.png\0", "1 of 7 photographs cannot be used; .*few_shot.txt: dent/a.png\0: leaves"),
    ],
)
def test_a_list_that_names_what_is_not_there_stops_the_run(line: str, text: str, tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    (root / "few_shot.txt").write_text(line)
    with pytest.raises(DataError, match=f"(?s){text}") as caught:
        load_folder(root, few_shot="few_shot.txt", max_bad_fraction=0.0)
    assert len(str(caught.value)) < 2000


def test_a_list_that_names_what_is_outside_is_refused_line_by_line(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    save_photo(tmp_path / "secret.png")
    (root / "few_shot.txt").write_text("dent/a.png\n../secret.png\n/etc/passwd\n")
    photos = load_folder(root, few_shot="few_shot.txt")
    assert [photo.relative for photo in photos.shots] == ["dent/a.png"]
    assert [bad.path for bad in photos.refused] == ["../secret.png", "/etc/passwd"]
    assert photos.refused[0].reason == f"few_shot.txt: ../secret.png: leaves {root}; name photographs below it"


def test_a_list_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    with (root / "few_shot.txt").open("wb") as file:
        file.truncate(10**12)  # a hole: it takes no room on the disk
    with pytest.raises(DataError, match=r"few_shot\.txt: is larger than 16 MB; a list has one path a line"):
        load_folder(root, few_shot="few_shot.txt")


def test_a_photograph_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a"])
    with (root / "good" / "0.png").open("ab") as file:
        file.truncate(10**12)
    (reason,) = load_folder(root, max_megapixels=1).refused
    assert "good/0.png: is larger than 9 MB, the most that 1 megapixels can take" in reason.reason


def test_a_defect_without_its_mask_is_refused(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "part", ["a", "b"])
    (root / "masks" / "dent" / "a.png").unlink()
    assert refused(root) == {"a.png": "masks/dent/a_mask.png: the mask is missing; draw it, or remove the photograph"}
