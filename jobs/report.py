"""``farm report RUN``: ledger and page of a run folder, from its files alone."""

import click

from jobs.cli import emit, run_command


@click.command("report", help="Write the ledger and the page of the run folder RUN.")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: str, as_json: bool) -> None:
    """Derived files only: they can be written again at any time."""
    from farm.report import build_report
    from farm.run_folder import RunFolder
    from farm.run_ledger import write_ledger

    folder = RunFolder(run)
    counts = write_ledger(folder)
    page = build_report(folder)
    emit({"counts": counts, "report": page}, as_json, f"report: {page}")


if __name__ == "__main__":
    run_command(command)
