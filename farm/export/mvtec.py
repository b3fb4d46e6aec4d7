"""The MVTec AD tree, of one category, as ``farm.datasets.mvtec`` and anomalib's MVTecAD and Folder read it.

<category>/train/good/<id>.png                  generated normals, and photographs where asked for
<category>/test/<defect>/<id>.png               generated defects
<category>/ground_truth/<defect>/<id>_mask.png  0 and 255

Generated defects lie in ``test`` since the layout has no other place for a defect with a mask. ``test/good`` is there
and empty: no generated or training picture is put where a score on normals is measured.
"""

from collections.abc import Iterable

from farm.datasets.photo import defect_name
from farm.export.base import Format
from farm.export.contents import Contents
from farm.export.output import Output
from farm.export.pictures import Picture
from farm.plan import GOOD

KEEP = ".keep"  # makes an empty folder; every reader passes over it


def _write(pictures: Iterable[Picture], contents: Contents, out: Output) -> None:
    root = defect_name(contents.category)
    for split in ("train", "test"):
        out.write(f"{root}/{split}/{GOOD}/{KEEP}", b"")
    for picture in pictures:
        if picture.label == GOOD:
            out.write(f"{root}/train/{GOOD}/{picture.name}.png", picture.image_png)
        else:
            out.write(f"{root}/test/{picture.label}/{picture.name}.png", picture.image_png)
            out.write(f"{root}/ground_truth/{picture.label}/{picture.name}_mask.png", picture.mask_png)


FORMAT = Format(
    name="mvtec",
    write=_write,
    has_verdicts=False,
    about=(
        "MVTec AD tree: `train/good` holds normals, `test/<defect>` the generated defects and "
        "`ground_truth/<defect>/<id>_mask.png` their masks. `test/good` is empty: put real normals there that nothing "
        "has learned from, or anomalib moves a fifth of `train/good` to its test. A score on `test/<defect>` says how "
        "well generated defects are found, not real ones."
    ),
)
