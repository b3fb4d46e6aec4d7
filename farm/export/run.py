"""Exporting a run: refused over another's files, the same again byte for byte, and only done when read back.

exporting.json is written first and says which export is at work; export.json is written last, when every file has been
read back, and says what there is. A folder with the first alone was interrupted: the same export writes it anew.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from farm.errors import RunError
from farm.export.base import Format
from farm.export.card import Exported, card
from farm.export.contents import Contents, read_contents
from farm.export.output import BEGUN, MARKER, Output, hold_output
from farm.export.pictures import PHOTOGRAPH, Picture, read_photographs, read_pictures
from farm.plan import GOOD
from farm.run_folder import RunFolder
from farm.store import Store, json_bytes

VERSION = 1  # raised when the same run gives other files
SHARD_BYTES = 256 * 2**20
CARD = "README.md"


def export_run(
    folder: RunFolder,
    form: Format,
    out: str,
    everything: bool = False,
    with_sources: bool = False,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Any]:
    """Write the kept pictures of ``folder`` as ``form`` below ``out``; returns what export.json says.

    ``everything`` adds refused pictures, ``with_sources`` the run's normal training photographs. Raises ``RunError``
    where the run is not judged, holds nothing to export or a damaged picture, or where ``out`` holds anything else.
    """
    if everything and not form.has_verdicts:
        raise RunError(
            f"{form.name}: has no room for verdicts, so a refused picture would pass for a kept one; leave --all out, "
            "or export to webdataset, huggingface or coco"
        )
    contents = read_contents(folder, everything)
    asked = {"version": VERSION, "format": form.name, "all": everything, "with_sources": with_sources}
    asked |= {"shard_bytes": shard_bytes, **_made_from(folder)}
    store = Store(out)
    _begin(store, asked)
    marker = asked | _write(folder, form, contents, Output(store, shard_bytes), everything, with_sources)
    store.write(MARKER, json_bytes(marker))
    store.remove(BEGUN)
    return marker


def _write(
    folder: RunFolder, form: Format, contents: Contents, out: Output, everything: bool, with_sources: bool
) -> dict[str, Any]:
    """Write and read back all files but the markers; returns what was written."""
    exported: Exported = Counter()
    unmarked: Counter[str] = Counter()
    pictures = read_pictures(folder, everything)
    with out:
        both = chain(pictures, read_photographs(folder) if with_sources else ())
        form.write(_counted(both, exported, unmarked), contents, out)
        out.write(CARD, card(folder, form, contents, exported, unmarked.total()))
    hold_output(out.store, out)
    labels: Counter[str] = Counter()
    for (_, label), count in exported.items():
        labels[label] += count
    return {
        "pictures": exported.total(),
        "labels": dict(labels),
        "unmarked": unmarked.total(),
        "files": out.files,
        "bytes": out.bytes,
        "checksum": out.checksum,
    }


def _counted(pictures: Iterable[Picture], exported: Exported, unmarked: Counter[str]) -> Iterator[Picture]:
    """``pictures``, counted, without kept defects whose mask marks nothing: a reader would take them for normals."""
    for picture in pictures:
        if picture.label != GOOD and picture.facts["verdict"] == "kept" and not picture.mask.any():
            unmarked[picture.label] += 1
            continue
        exported[picture.facts["method"] or PHOTOGRAPH, picture.label] += 1
        yield picture


def _made_from(folder: RunFolder) -> dict[str, str]:
    """What decides every byte of an export: the plan, and the verdicts on its rows."""
    prints = folder.fingerprints()
    verdicts = hashlib.sha256(folder.store.read(folder.verdict_name("verdicts.parquet"))).hexdigest()
    return {"run": folder.run().name, "plan": prints["plan"], "judge": prints["judge"], "verdicts": verdicts}


def _begin(store: Store, asked: dict[str, Any]) -> None:
    """Take the folder for this export. ``RunError`` where it holds anything but this export, whole or begun."""
    told = [store.read(name) for name in (MARKER, BEGUN) if store.exists(name)]
    same = any(_asked(data).items() >= asked.items() for data in told)
    held = next(iter(store.names(".")), None)
    if held is not None and not same:
        what = "another export" if told else f"'{held}', which no export wrote"
        raise RunError(f"{store.root}: holds {what}; export into an empty folder, or remove that one first")
    store.write(BEGUN, json_bytes(asked))
    store.remove(MARKER)


def _asked(data: bytes) -> dict[str, Any]:
    """What a marker says; nothing where it is not one."""
    try:
        told = json.loads(data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
