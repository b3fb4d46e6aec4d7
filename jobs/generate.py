"""``farm generate CONFIG``: the images of a run and the verdicts on them, without training."""

import click

from jobs.cli import emit, run_command
from jobs.common import accounts, config_options, open_run, progress


@click.command("generate", help="Fit, invert, generate, embed, write and judge the missing shards of CONFIG.")
@config_options
def command(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """The phases up to the verdicts; done shards are skipped."""
    from cluster.flow import Flow
    from farm.run_ledger import write_ledger

    with Flow(open_run(config, overrides), progress(as_json), "farm generate") as flow:
        flow.fit()
        flow.invert()
        flow.generate()
        flow.judge()
        counts = write_ledger(flow.folder)
    emit({"run": flow.url, "counts": counts}, as_json, f"{accounts(counts)}\nrun: {flow.url}")


if __name__ == "__main__":
    run_command(command)
