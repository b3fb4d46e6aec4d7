"""``farm demo``: the whole run on the demo photographs, with the embedded model, on this machine."""

from importlib import resources

import click

from jobs.cli import emit, run_command
from jobs.common import open_run, progress, summary


@click.command("demo", help="Run the demo config from start to report on this machine.")
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a setting; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(overrides: tuple[str, ...], as_json: bool) -> None:
    """``configs/demo.yaml``, every phase that is not done yet."""
    from cluster.flow import Flow

    with resources.as_file(resources.files("configs") / "demo.yaml") as path:
        settings = open_run(str(path), overrides)
    with Flow(settings, progress(as_json), "farm demo") as flow:
        result = flow.all()
    emit(result, as_json, summary(result))


if __name__ == "__main__":
    run_command(command)
