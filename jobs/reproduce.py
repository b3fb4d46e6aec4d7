"""``farm reproduce RUN ID``: make one sample again from its row alone; exit 0 when every byte is equal, else 1."""

import sys

import click

from jobs.cli import emit, run_command


@click.command("reproduce", help="Make the sample ID (or row number) of the run folder RUN again, and compare bytes.")
@click.argument("run")
@click.argument("sample", metavar="ID")
@click.option("--out", type=click.Path(file_okay=False), help="Write the pictures, as stored and as made, to a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(run: str, sample: str, out: str | None, as_json: bool) -> None:
    """Needs no Ray: the photographs, the weights and the row's number decide everything."""
    from farm.reproduce import PICTURES, reproduce
    from farm.run_folder import RunFolder
    from farm.store import Store

    found = reproduce(RunFolder(run), sample)
    if out:
        for kind, row in (("stored", found.stored), ("made", found.made)):
            for name in PICTURES:
                Store(out).write(f"{found.sample_id}-{name.removesuffix('_png')}-{kind}.png", bytes(row[name]))
    told = {"row": found.row, "sample_id": found.sample_id, "same": found.same, "equal": found.equal}
    emit(told | {"pixels": found.pixels}, as_json, "\n".join(found.lines()))
    if not found.same:
        sys.exit(1)


if __name__ == "__main__":
    run_command(command)
