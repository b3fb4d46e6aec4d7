"""``farm verify RUN``: recount a run folder; exit 0 when nothing is missing, doubled or damaged, else 1."""

import sys

import click

from jobs.cli import emit, run_command


@click.command("verify", help="Recount the run folder RUN; exit 1 where something is missing, doubled or damaged.")
@click.argument("run")
@click.option("--repair", is_flag=True, help="Forget what is damaged, so that the next run makes it anew.")
@click.option("--failed", is_flag=True, help="With --repair: forget shards with failed rows too, to try these again.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: str, repair: bool, failed: bool, as_json: bool) -> None:
    """Every planned row once, checksums, pictures that decode, masks that fit, backgrounds equal byte for byte."""
    from farm.repair import repair as mend
    from farm.run_folder import RunFolder
    from farm.verify import verify

    if failed and not repair:
        raise click.UsageError("--failed says what --repair forgets; give both")
    folder = RunFolder(run)
    found = verify(folder)
    done = mend(folder, found, failed) if repair else []
    lines = [*found.problems, *done, found.summary()]
    emit({"counts": found.counts, "problems": found.problems, "repaired": done}, as_json, "\n".join(lines))
    if found.problems and not repair:
        sys.exit(1)


if __name__ == "__main__":
    run_command(command)
