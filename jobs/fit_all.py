"""``farm fit-all CONFIG ...``: train the adapters of many configs as one job, as many at once as the cluster holds."""

from functools import partial
from pathlib import Path

import click

from farm.errors import RunError
from jobs.cli import emit, run_command
from jobs.common import open_run


@click.command("fit-all", help="Train every method of every CONFIG that has a 'fit' section; cut off, it goes on.")
@click.argument("configs", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a setting in all; may be repeated.")
@click.option("--at-once", type=click.IntRange(min=1), help="Train at most so many at once [as many as fit].")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def command(configs: tuple[Path, ...], overrides: tuple[str, ...], at_once: int | None, as_json: bool) -> None:
    """One training a pair of category and arm; one that fails is said at the end and stops no other."""
    from cluster.fit_all import fit_all

    runs = [(str(config), open_run(str(config), overrides)) for config in configs]
    board = fit_all(runs, at_once, _silent if as_json else partial(click.echo, err=True))
    emit({"counts": board.counts(), "pairs": board.results()}, as_json, board.table())
    failed = [f"  {board.name(pair)}: {board.rows[pair].reason}" for pair in board.pairs("failed")]
    failed = [line.replace("\n", "\n  ") for line in failed]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(board.rows)} pairs failed; run the same again when they are mended, the others "
            "are skipped\n" + "\n".join(failed)
        )


def _silent(_line: str) -> None:
    """Say nothing where a machine reads the result."""


if __name__ == "__main__":
    run_command(command)
