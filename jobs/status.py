"""``farm status RUN``: how far a run is, from any machine, while it runs."""

import time
from dataclasses import asdict

import click

from jobs.cli import emit, run_command


@click.command("status", help="Say how far the run folder RUN is, how fast, and what failed.")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: str, as_json: bool) -> None:
    """Reads the folder alone: the plan, the markers of committed shards, the lease and the driver's last words."""
    from farm.run_folder import RunFolder
    from farm.status import read_status

    status = read_status(RunFolder(run), time.time())
    emit(asdict(status), as_json, "\n".join(status.lines()))


if __name__ == "__main__":
    run_command(command)
