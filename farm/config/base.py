"""What every settings model shares: frozen, unknown keys refused, numbers and texts within reason."""

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

LARGEST = 2**31 - 1  # of a count
LONGEST = 2000  # characters of a text; CLIP's text encoder reads some 300


def _printable(text: str) -> str:
    found = sorted({f"U+{ord(sign):04X}" for sign in text if unicodedata.category(sign) == "Cc" and sign not in "\t\n"})
    if found:
        raise ValueError(f"control characters are not allowed; found {', '.join(found[:5])}, take them out")
    return text


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=LARGEST)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Text = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_printable)]


class Frozen(BaseModel):
    """Base of every settings model: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
