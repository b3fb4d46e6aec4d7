"""What a method gave, held against ``farm.methods.Made``: shapes and types of the whole batch, then row by row.

A method that breaks the contract is a defect of the method, but it must cost its own rows only: nothing of theirs may
be written, and no other row may change.
"""

from typing import Any

import numpy as np

from farm.errors import DataError
from farm.methods.base import Made, Request


def check_made(made: Made, request: Request) -> None:
    """Raise ``DataError`` unless every array of ``made`` has the type and shape that ``request`` asks for.

    The text names the field, what was found and what is right. Values are looked at by ``bad_rows``.
    """
    count, pictures = len(request.seed), request.source.shape
    _hold("image", made.image, np.uint8, pictures)
    _hold("label", made.label, np.uint8, request.mask.shape)
    _hold("evaluations", made.evaluations, np.int32, (count,))
    _hold("background_error", made.background_error, np.float32, (count,))
    if made.reference is not None:
        _hold("reference", made.reference, np.uint8, pictures)
    for name, texts in (("objection", made.objection), ("error", made.error)):
        if len(texts) != count or not all(isinstance(text, str) for text in texts):
            kinds = ", ".join(sorted({type(text).__name__ for text in texts})) or "nothing"
            raise DataError(f"the method gave {name} of {len(texts)} values ({kinds}); it must be {count} texts")


def bad_rows(made: Made) -> list[str]:
    """For each row "" or what is wrong with its values, in words; B texts.

    Pixels are uint8 and cannot be NaN: a method says itself, in ``Made.error``, that its floats were not finite
    (``farm.diffusion.latents.finite_rows``). What is left to find are the numbers beside them, and labels.
    """
    return [_wrong(made, row) for row in range(len(made.error))]


def _wrong(made: Made, row: int) -> str:
    if made.error[row]:
        return ""  # the method said so itself, and its values mean nothing
    if not np.isfinite(made.background_error[row]):
        return f"the method gave background_error {made.background_error[row]}; its pixels cannot be trusted"
    most = int(made.label[row].max(initial=0))
    if most > 1:
        return f"the method gave a label with values up to {most}; it must be 1 where the defect shows and 0 elsewhere"
    if made.evaluations[row] < 0:
        return f"the method gave {int(made.evaluations[row])} evaluations; they must be 0 or more"
    return ""


def _hold(name: str, values: Any, dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    found = f"{type(values).__name__}" if not isinstance(values, np.ndarray) else f"{values.dtype} {values.shape}"
    if found != f"{np.dtype(dtype)} {shape}":
        raise DataError(f"the method gave {name} as {found}; it must be {np.dtype(dtype)} {shape}")
