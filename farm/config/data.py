"""Settings of the photographs and of the texts that go with them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from farm.config.base import Frozen, Positive, Share, Text


class DataConfig(Frozen):
    """Where the photographs are. ``root`` is a category's folder, laid out as ``kind`` says (docs/datasets.md)."""

    kind: Literal["textile", "mvtec", "folder", "loco", "btad", "ksdd2", "visa"]
    root: Text | None = None
    category: Text
    defects: tuple[str, ...] | None = None  # defect folders to use; None = all
    mask_folder: str = "ground_truth"  # where the layout has a folder of masks
    few_shot: str = "few_shot.txt"  # a list file in root, "third" (first floor(n/3) of each type) or "none"
    max_train: Positive | None = None  # evenly spaced subset of the sorted normals
    max_test: Positive | None = None  # the same for each class of the test photographs
    max_bad_fraction: Share = 0.02  # unreadable photographs that are tolerated, each recorded with its reason
    max_megapixels: Annotated[float, Field(gt=0, le=178)] = 50.0  # larger ones are refused before they are decoded

    @model_validator(mode="after")
    def _root_given(self) -> "DataConfig":
        if self.kind != "textile" and self.root is None:
            raise ValueError(f"kind '{self.kind}' needs root, the folder of the category; set data.root")
        return self


class DefectPrompt(Frozen):
    """One defect to make: its name in rows and reports, and the text that asks for it."""

    name: str = Field(min_length=1, pattern=r"^[a-z0-9_]+$")
    prompt: Text


class Prompts(Frozen):
    """The texts of one category: what the background is, and the defects to make on it."""

    normal: Text
    defects: tuple[DefectPrompt, ...]

    @model_validator(mode="after")
    def _defects_named_once(self) -> "Prompts":
        found = [defect.name for defect in self.defects]
        if not found or len(set(found)) != len(found):
            raise ValueError(f"at least one defect, each name once; found {found}")
        return self
