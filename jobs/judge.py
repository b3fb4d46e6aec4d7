"""``farm judge RUN``: verdicts of a finished run with other thresholds, from its stored vectors."""

import click

from jobs.cli import emit, run_command
from jobs.common import accounts


@click.command("judge", help="Judge the run folder RUN again, with other filter settings; images stay as they are.")
@click.argument("run")
@click.option("--set", "overrides", multiple=True, metavar="filter.A=B", help="Override a setting of the filter.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """No Ray and no GPU: columns and vectors are stored. Verdicts of other settings stay beside these."""
    from farm.lease import Lease
    from farm.rejudge import change_filter, rejudge
    from farm.report import build_report
    from farm.run_folder import RunFolder
    from farm.run_ledger import write_ledger

    folder = RunFolder(run)
    folder.settings()
    lease = Lease.take(folder.store, "farm judge")
    lease.keep()
    try:
        change_filter(folder, overrides)
        fresh = rejudge(folder)
        counts = write_ledger(folder)
        page = build_report(folder)
    finally:
        lease.release()
    told = f"{accounts(counts)}{'' if fresh else '  (judged so before)'}\nreport: {page}"
    emit({"run": folder.store.root, "counts": counts, "judged": fresh, "report": page}, as_json, told)


if __name__ == "__main__":
    run_command(command)
