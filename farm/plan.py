"""The plan of a run: row i is a pure function of (run, i), so no list of rows is ever held (decision 2).

The arm of row i comes from the van der Corput sequence, so that every stretch of rows holds the arms in their
shares; all else is drawn from the row's own seed. Shards are fixed ranges of rows: their size changes file names,
not pixels.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from farm.config import DefectPrompt, DualConfig, MethodConfig, RulesConfig, Run, TranslateConfig
from farm.datasets.photo import PhotoSet, TrainPhoto
from farm.errors import ConfigError, DataError, RunError
from farm.ids import fingerprint, generator, radical_inverse, row_seed, sample_id
from farm.methods import prompt_table
from farm.rows import PLANNED, Batch

PLAN_VERSION = 4  # raised when the meaning of a plan changes, so that old and new runs never mix
RoundShares = Mapping[str, Mapping[str, float]]  # defect → arm → its share of that defect's rows
GOOD = "good"  # what stands for the defect of an image that has none


class Plan:
    """Rows of a run. Two plans with one fingerprint give the same rows, whatever the number of rows or shard size."""

    def __init__(
        self, run: Run, photos: PhotoSet, model: str, rounds: Mapping[int, RoundShares] = MappingProxyType({})
    ) -> None:
        """``rounds`` are the shares of an adaptive budget's rounds, as far as they are decided (``farm.rounds``)."""
        if not photos.train:
            raise DataError(f"{run.data.category}: no normal photographs to put defects on; check data.root")
        self.run, self.photos = run, photos
        self.sources: dict[str, tuple[TrainPhoto, ...]] = {
            name: arm_sources(photos.train, method.sources)
            for name, method in zip(run.arm_names(), run.methods, strict=True)
        }
        self.defects = arm_defects(run)
        self.has_shot_masks = any(shot.mask_path for shot in photos.shots)
        self.fingerprint = plan_fingerprint(run, photos.fingerprint, model)
        self._arms = tuple(zip(run.arm_names(), run.methods, strict=True))
        self._edges = np.cumsum([method.share for method in run.methods])
        self.contenders = _contenders(run, self.defects) if run.budget.kind == "adaptive" else {}
        self._rounds = dict(rounds)

    def __len__(self) -> int:
        return self.run.rows

    @property
    def shard_count(self) -> int:
        """How many shards of ``cluster.shard_rows`` rows the plan has; the last may be shorter."""
        return -(-self.run.rows // self.run.cluster.shard_rows)

    def shard_range(self, shard: int) -> range:
        """The row numbers of ``shard``."""
        size = self.run.cluster.shard_rows
        return range(shard * size, min((shard + 1) * size, self.run.rows))

    @property
    def round_count(self) -> int:
        """How many rounds the budget has; one that does not learn has one."""
        return -(-self.run.rows // self.run.budget.round_rows) if self.contenders else 1

    def round_shards(self, number: int) -> range:
        """The shards of round ``number``."""
        each = self.run.budget.round_rows // self.run.cluster.shard_rows if self.contenders else self.shard_count
        return range(number * each, min((number + 1) * each, self.shard_count))

    def asked(self, number: int) -> tuple[str, str]:
        """The arm of row ``number`` and the defect that it is asked for, under an adaptive budget.

        Defects come in equal shares; the arms that can make one compete for its rows. Raises ``RunError`` where the
        row's round is not decided yet.
        """
        place = radical_inverse(number) * len(self.contenders)
        defect = list(self.contenders)[int(place)]
        arms = self.contenders[defect]
        round_number = number // self.run.budget.round_rows
        if round_number == 0:
            weights = [dict(self._arms)[arm].share for arm in arms]
        elif round_number in self._rounds:
            weights = [self._rounds[round_number][defect][arm] for arm in arms]
        else:
            raise RunError(
                f"row {number}: its round {round_number} of the budget is not decided; the rounds before it come first"
            )
        edges = np.cumsum(weights)
        return arms[int(np.searchsorted(edges, (place % 1) * edges[-1], side="right"))], defect

    def shard(self, shard: int) -> Batch:
        """The rows of ``shard`` as ``rows.PLANNED`` columns."""
        return self.rows(self.shard_range(shard))

    def rows(self, numbers: Sequence[int]) -> Batch:
        """The rows with these numbers as ``rows.PLANNED`` columns."""
        drawn = [self.row(number) for number in numbers]
        return {column.name: _column([row[column.name] for row in drawn], column.dtype) for column in PLANNED}

    def row(self, number: int) -> dict[str, Any]:
        """Row ``number``: a function of the plan's fingerprint and ``number`` alone."""
        seed = row_seed(self.fingerprint, number)
        rng = generator(seed, "plan")
        name, method, wanted = self._arm(number)
        sources, defects = self.sources[name], self.defects[name]
        source = sources[int(rng.integers(len(sources)))]
        defect = defects[int(rng.integers(len(defects)))]
        if wanted:
            defect = next(one for one in defects if one.name == wanted)
        recipe = str(rng.choice(method.recipes)) if isinstance(method, RulesConfig) else ""
        kinds = self._mask_kinds(method)
        return {
            "row": number,
            "sample_id": sample_id(self.fingerprint, number),
            "seed": seed,
            "method": name,
            "recipe": recipe,
            "kind": method.makes,
            "category": self.run.data.category,
            "defect": recipe or defect.name,  # a rule paints what it paints, whatever a prompt would say
            "prompt": "" if recipe else defect.prompt,
            "normal_prompt": self.run.prompts.normal,
            "source_id": source.photo_id,
            "mask_kind": kinds[int(rng.integers(len(kinds)))],
        }

    def _arm(self, number: int) -> tuple[str, MethodConfig, str]:
        """Name and settings of the row's arm, and the defect that it is asked for where the budget decides that."""
        if self.contenders:
            name, defect = self.asked(number)
            return name, dict(self._arms)[name], defect
        arm = int(np.searchsorted(self._edges, radical_inverse(number) * self._edges[-1], side="right"))
        return *self._arms[arm], ""

    def _mask_kinds(self, method: MethodConfig) -> tuple[str, ...]:
        """The arm's kinds of mask; real ones only where there are few-shot masks to copy."""
        kinds = tuple(kind for kind in method.masks.kinds if kind != "real" or self.has_shot_masks)
        if not kinds:
            raise DataError(
                f"{self.run.data.category}: masks.kinds asks for 'real' only, but no few-shot photograph has a mask; "
                "add 'perlin' or 'procedural', or give data.few_shot"
            )
        return kinds


def plan_fingerprint(run: Run, photos: str, model: str) -> str:
    """What decides a run's pixels: settings, photographs and weights; not rows, shards, filter, training or cluster."""
    later = {"name", "output", "rows", "max_failed_fraction", "embed", "filter", "train", "cluster", "prices"}
    if run.budget.kind == "uniform":
        later.add("budget")
    kept = run.model_dump(mode="json", exclude=later)
    kept["data"] = {"category": run.data.category}
    tables = {name: defects for name, defects in arm_defects(run).items() if defects != run.prompts.defects}
    if tables:  # their words are not in the config
        kept["prompt_tables"] = {name: [defect.model_dump() for defect in table] for name, table in tables.items()}
    return fingerprint({"version": PLAN_VERSION, "run": kept, "photos": photos, "model": model})


def _contenders(run: Run, defects: Mapping[str, tuple[DefectPrompt, ...]]) -> dict[str, tuple[str, ...]]:
    """Defect → the arms that can make it. Raises ``ConfigError`` where one cannot be made, or an arm makes none."""
    found = {
        defect.name: tuple(arm for arm, made in defects.items() if defect.name in [one.name for one in made])
        for defect in run.prompts.defects
    }
    idle = [arm for arm in defects if not any(arm in arms for arms in found.values())]
    unmade = [defect for defect, arms in found.items() if not arms]
    if idle or unmade:
        what = f"the arm '{idle[0]}' makes none of" if idle else f"no arm makes '{unmade[0]}' of"
        raise ConfigError(
            f"budget.kind 'adaptive': {what} prompts.defects ({', '.join(found)}); arms compete for defects, so leave "
            "it out, or give budget.kind 'uniform'"
        )
    return found


def arm_defects(run: Run) -> dict[str, tuple[DefectPrompt, ...]]:
    """The defects of each arm, by name; see ``method_defects``."""
    return {name: method_defects(run, method) for name, method in zip(run.arm_names(), run.methods, strict=True)}


def method_defects(run: Run, method: MethodConfig) -> tuple[DefectPrompt, ...]:
    """What ``method`` makes: the run's defects; those of a prompt table; one alone; or, of normals, ``GOOD``."""
    if isinstance(method, TranslateConfig) and method.material is not None:
        return prompt_table.prompts(method.material, method.engine, method.object_name)
    if isinstance(method, DualConfig):
        names = [defect.name for defect in run.prompts.defects]
        return (DefectPrompt(name=method.defect or names[0], prompt=method.whole_prompt),)
    if method.makes == "normal":
        return (DefectPrompt(name=GOOD, prompt=run.prompts.normal),)
    return run.prompts.defects


def arm_sources(photos: tuple[TrainPhoto, ...], limit: int | None) -> tuple[TrainPhoto, ...]:
    """``limit`` of the normals, evenly spaced over the sorted list; all of them where no limit is given."""
    if limit is None or limit >= len(photos):
        return photos
    picks = np.linspace(0, len(photos) - 1, limit).round().astype(int)
    return tuple(photos[index] for index in picks)


def _column(values: list[Any], dtype: str) -> Any:
    if dtype == "str":
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
    return np.asarray(values, dtype=dtype)
