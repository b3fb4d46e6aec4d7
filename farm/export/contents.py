"""What an export will hold, told from the small columns before a picture is read: class numbers need all names."""

from collections import Counter
from dataclasses import dataclass

from farm.errors import RunError
from farm.export.pictures import Verdicts, label_of
from farm.plan import GOOD
from farm.rows import MADE
from farm.run_folder import RunFolder

REFUSED = "refused"


@dataclass(frozen=True)
class Contents:
    """A run's rows, counted. ``labels``: ``GOOD``, then the defects that are exported, by name."""

    category: str
    labels: tuple[str, ...]
    verdicts: Counter[tuple[str, str, str]]  # (method, label, verdict) → rows, of the whole run
    reasons: Counter[str]  # of the refused

    @property
    def defects(self) -> tuple[str, ...]:
        """The labels of defects, by name."""
        return self.labels[1:]


def read_contents(folder: RunFolder, everything: bool = False) -> Contents:
    """Count a judged run. ``RunError`` where it is not judged, or has no picture to export."""
    verdicts = Verdicts(folder)
    counts: Counter[tuple[str, str, str]] = Counter()
    reasons: Counter[str] = Counter()
    labels: set[str] = set()
    for shard in sorted(folder.done_shards()):
        table = folder.facts(shard).select(["row", "method", "kind", "defect", "status"])
        for row, verdict in zip(table.to_pylist(), verdicts.of(table["row"]), strict=True):
            label = label_of(row["kind"], row["defect"])
            counts[row["method"], label, verdict["verdict"]] += 1
            if verdict["verdict"] == REFUSED:
                reasons[verdict["reason"]] += 1
            if verdict["keep"] or (everything and row["status"] == MADE):
                labels.add(label)
    if not labels:
        raise RunError(
            f"{folder.store.root}: no picture of {sum(counts.values())} rows is kept, so there is nothing to export; "
            "'farm report' shows why, and --all exports what was refused where the format has room"
        )
    return Contents(folder.run().data.category, (GOOD, *sorted(labels - {GOOD})), counts, reasons)
