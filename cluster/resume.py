"""Working on shards until none is missing: what the cluster loses is planned again, what cannot go on ends in words."""

from collections.abc import Callable, Sequence

from cluster.causes import farm_error
from cluster.progress import Report
from farm.errors import RunError

FRUITLESS = 3  # executions in a row that commit nothing

Work = Callable[[Sequence[int], Report], object]


def until_done(
    left: Sequence[int],
    missing: Callable[[], Sequence[int]],
    work: Work,
    report: Report,
    where: str,
    log: Callable[[str], None],
) -> None:
    """Call ``work`` with what is ``left``, then with what ``missing`` gives, until that is nothing.

    A node, actor or object that is lost, or a stall, ends one execution; the next plans what is still missing. Raises
    what a stage itself raised, and ``RunError`` after ``FRUITLESS`` executions in a row that finished no unit.
    """
    total, fruitless = len(left), 0
    while left:
        base, lost = total - len(left), None
        try:
            work(left, lambda finished, counts, base=base: report(base + finished, counts))  # type: ignore[misc]
        except Exception as error:
            lost = _loss(error, where)
        now = list(missing())
        fruitless = 0 if len(now) < len(left) else fruitless + 1
        if now and fruitless >= FRUITLESS:
            raise RunError(
                f"{where}: {fruitless} executions in a row finished nothing; {len(now)} units are missing, the first "
                f"is {now[0]}. The last one ended with: {lost or 'no error'}. Look at the workers' logs; what is "
                "committed is kept, and the same command goes on from here"
            )
        if now:
            log(f"{where}: {lost or 'units are missing'}; planning {len(now)} units again")
        left = now


def _loss(error: Exception, where: str) -> str:
    """What was lost, in a line; raises ``error``, or the stage's own error below it, where nothing was lost."""
    import ray

    raised = farm_error(error)
    if raised is not None:
        raise raised from None
    if getattr(error, "actor_init_failed", False):
        last = [line for line in str(error).splitlines() if line.strip()][-1]
        raise RunError(f"{where}: a worker could not begin: {last.strip()}") from error
    lost = isinstance(error, ray.exceptions.RayError) and not isinstance(error, ray.exceptions.RayTaskError)
    if not (lost or type(error).__name__ in ("ExecutionTimeoutError", "SystemException")):
        raise error
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
