"""Making what is damaged missing, so that the next run plans it again. Nothing that is whole is touched."""

from farm.lease import Lease
from farm.run_folder import RunFolder
from farm.verify import Found


def repair(folder: RunFolder, found: Found, failed: bool = False) -> list[str]:
    """Forget the damaged shards of ``found``, and files that belong to nothing; returns what was done, in words.

    ``failed`` forgets whole shards with failed rows too, for when what made them fail is mended. Raises ``RunError``
    where a driver is at work on the run. Verdicts and ledger go where the parts under them change: they are derived.
    """
    done = []
    forget = found.damaged | (found.failed if failed else set())
    lease = Lease.take(folder.store, "farm verify --repair")
    try:
        for shard in sorted(forget):
            folder.forget_shard(shard)
            done.append(f"shard {shard}: forgotten; the next run makes it anew, with the same bytes")
        for name in found.orphans:
            folder.store.remove(name)
            done.append(f"{name}: removed")
        for name in folder.store.unfinished():
            folder.store.remove(name)
            done.append(f"{name}: removed; its writer died")
        if found.stale or (failed and found.failed):
            for name in list(folder.store.names("verdicts")):
                folder.store.remove(name)
            folder.store.remove("ledger.parquet")
            done.append("verdicts and ledger: removed; the next run judges again from what is stored")
    finally:
        lease.release()
    return done
