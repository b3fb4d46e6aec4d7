"""Folders of photographs: what lies in them, in what order, and under which licence. Nothing leaves the root."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from farm.config import DataConfig
from farm.errors import DataError

Item = TypeVar("Item")

CATEGORIES = 20  # folders that an error names as the right root
CLUTTER = {"thumbs.db", "desktop.ini"}  # what file browsers leave behind
LICENCE_HEADING = re.compile(r"^#*\s*licen[cs]e\b\W*(.*)$", re.IGNORECASE)
LICENCE_LINES, LICENCE_CHARACTERS, READ_CHARACTERS = 3, 400, 65536


def category_root(config: DataConfig) -> Path:
    """The folder of the category that ``config`` names."""
    return Path(config.root or "").expanduser().absolute()


def hold_layout(root: Path, category: str, is_root: Callable[[Path], bool], layout: str, expected: str) -> None:
    """Raise ``DataError`` unless ``is_root`` of the root; the text names the folders below of which it is true."""
    if is_root(root):
        return
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; data.root must be the folder of one category with {expected}")
    below = [name for name in folders_in(root) if is_root(root / name)]
    right = [category] if category in below else below
    hint = f". Set data.root to {' or '.join(str(root / name) for name in right[:CATEGORIES])}" if right else ""
    found = ", ".join(folders_in(root)) or "no folder"
    raise DataError(f"{root}: is not in the {layout} layout; expected {expected}; found {found}{hint}")


def natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key under which ``10.png`` comes after ``9.png``; equal keys for equal texts only."""
    parts = re.findall(r"\d+|\D+", text)
    return [*((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts), (2, 0, text)]


def is_inside(path: Path, root: Path) -> bool:
    """Whether ``path``, with links followed, lies below ``root``; False for a path that no file can have."""
    try:
        return path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a name too long, links in a ring, a zero byte
        return False


def is_text(path: Path | str) -> bool:
    """Whether the name is Unicode text, so that it can be written into a table or a page; a disk takes any bytes."""
    return not any(0xD800 <= ord(sign) <= 0xDFFF for sign in str(path))


def hold_text(path: Path, root: Path) -> None:
    """Raise ``DataError`` unless the name of the file, which lies below ``root``, is Unicode text."""
    if not is_text(path):
        where = shown(path.relative_to(root).as_posix())
        raise DataError(f"{where}: the name is not Unicode text (UTF-8); rename the file or its folder")


def shown(path: Path | str) -> str:
    """The name as text that can be printed and stored, whatever bytes the disk has for it."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def photos_in(folder: Path) -> list[Path]:
    """Everything in ``folder`` but hidden files and clutter, in natural order; [] if there is no such folder."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in CLUTTER)
    return sorted(found, key=lambda path: natural(path.name))


def folders_in(folder: Path) -> list[str]:
    """The names of the folders in ``folder``, hidden ones left out, in natural order."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(names, key=natural)


def evenly(items: Sequence[Item], limit: int | None) -> list[Item]:
    """``limit`` of the items, evenly spaced from the first to the last; all of them if ``limit`` is None."""
    if limit is None or limit >= len(items):
        return list(items)
    if limit == 1:
        return [items[0]]
    return [items[index * (len(items) - 1) // (limit - 1)] for index in range(limit)]


def selected_defects(found: Sequence[str], wanted: Sequence[str] | None, where: Path) -> list[str]:
    """The defects to use, in the order found. Raises ``DataError`` if one that is wanted is not there."""
    missing = sorted(set(wanted or ()) - set(found))
    if missing:
        raise DataError(
            f"{where}: no defect folder {', '.join(missing)}; found {', '.join(found) or 'none'}. Mend data.defects"
        )
    return [name for name in found if wanted is None or name in wanted]


def read_licence(root: Path, published: str = "unknown") -> str:
    """What the README says under "Licence", else the first lines of a LICENCE file, else ``published``."""
    readmes = [_lines(path, root) for path in sorted(root.glob("[Rr][Ee][Aa][Dd][Mm][Ee]*"))]
    licences = [_lines(path, root) for path in sorted(root.glob("[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*"))]
    texts = [_under_heading(lines) for lines in readmes] + [" ".join(lines[:LICENCE_LINES]) for lines in licences]
    return next((text[:LICENCE_CHARACTERS] for text in texts if text), published)


def _lines(path: Path, root: Path) -> list[str]:
    """The lines with text of the file's beginning; none for a folder, a link that leaves the root or a locked file."""
    if not path.is_file() or not is_inside(path, root) or not os.access(path, os.R_OK):
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.strip() for line in file.read(READ_CHARACTERS).splitlines() if line.strip()]


def _under_heading(lines: Sequence[str]) -> str:
    for number, line in enumerate(lines):
        heading = LICENCE_HEADING.match(line)
        if heading:
            below = []
            for text in lines[number + 1 :]:
                if text.startswith("#"):
                    break
                below.append(text)
            return re.sub(r"[*`]", "", " ".join([heading[1], *below[:LICENCE_LINES]])).strip()
    return ""
