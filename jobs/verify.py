"""``farm verify RUN``: recount a run folder; exit 0 when nothing is missing, doubled or damaged, else 1."""

import sys

import click

from jobs.cli import emit, run_command


@click.command("verify", help="Recount the run folder RUN; exit 1 where something is missing, doubled or damaged.")
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: str, as_json: bool) -> None:
    """Every planned row once, checksums, pictures that decode, masks that fit, backgrounds equal byte for byte."""
    from farm.run_folder import RunFolder
    from farm.verify import verify

    found = verify(RunFolder(run))
    lines = [*found.problems, found.summary()]
    emit({"counts": found.counts, "problems": found.problems}, as_json, "\n".join(lines))
    if found.problems:
        sys.exit(1)


if __name__ == "__main__":
    run_command(command)
