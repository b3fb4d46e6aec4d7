"""A whole shard of rows → its committed part and marker. Names are deterministic: a second write overwrites itself."""

from typing import Any

import numpy as np

from farm import attempts
from farm.errors import RowError
from farm.parts import to_table
from farm.plan import Plan
from farm.rows import ENCODED, STATUSES, Batch, check
from farm.run_folder import RunFolder


class Write:
    """Commits shards of one plan into its run folder."""

    def __init__(self, folder: RunFolder, plan: Plan) -> None:
        self.folder, self.plan = folder, plan

    def commit(self, shard: int, batch: Batch, costs: dict[str, Any]) -> dict[str, Any]:
        """Write ``batch`` (all rows of ``shard``, ``rows.ENCODED``) and its marker; returns the marker's counts."""
        batch = {name: values[np.argsort(batch["row"])] for name, values in batch.items()}
        check(batch, ENCODED, f"write shard {shard}")
        wanted = self.plan.shard_range(shard)
        if batch["row"].tolist() != list(wanted):
            raise RowError(
                f"write shard {shard}: got {len(batch['row'])} rows where the plan has {len(wanted)} "
                f"({wanted.start} to {wanted.stop - 1}); nothing was written"
            )
        counts = {"rows": len(wanted), **{name: int((batch["status"] == name).sum()) for name in STATUSES}}
        marker = {
            "first": wanted.start,
            "stop": wanted.stop,
            **counts,
            "plan": self.plan.fingerprint,
            "attempts": attempts.taken(self.folder.store, shard),
            "costs": costs,
        }
        self.folder.write_shard(shard, to_table(batch, ENCODED), marker)
        attempts.clear(self.folder.store, shard)
        return {"shard": shard, **counts}
