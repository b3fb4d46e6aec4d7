"""``farm run CONFIG``: every phase that is not done yet."""

import click

from jobs.cli import emit, run_command
from jobs.common import config_options, open_run, progress, summary


@click.command("run", help="Run every phase of CONFIG that is not done yet.")
@config_options
def command(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Generate, judge, train, evaluate and report; done phases are skipped."""
    from cluster.flow import Flow

    with Flow(open_run(config, overrides), progress(as_json), "farm run") as flow:
        result = flow.all()
    emit(result, as_json, summary(result))


if __name__ == "__main__":
    run_command(command)
