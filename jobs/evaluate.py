"""``farm evaluate CONFIG``: the real test photographs, scored by the trained detectors."""

import click

from jobs.cli import emit, run_command
from jobs.common import config_options, open_run, progress


@click.command("evaluate", help="Score the test photographs with CONFIG's trained detectors.")
@config_options
def command(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Image metrics always; pixel metrics where the photographs have masks."""
    from cluster.flow import Flow

    with Flow(open_run(config, overrides), progress(as_json), "farm evaluate") as flow:
        flow.evaluate()
    metrics = flow.folder.read_json("metrics.json")
    lines = [
        f"{stage}.{name}: {value:.4f}"
        for stage, values in metrics.items()
        for name, value in values.items()
        if isinstance(value, float)
    ]
    emit(metrics, as_json, "\n".join(lines))


if __name__ == "__main__":
    run_command(command)
