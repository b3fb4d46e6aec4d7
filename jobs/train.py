"""``farm train CONFIG``: both stages of the detector, from the images of a run folder."""

import click

from jobs.cli import emit, run_command
from jobs.common import config_options, open_run, progress


@click.command("train", help="Train both stages of CONFIG's detector; its images must be there.")
@config_options
def command(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Stage 1 on streamed rule-based images, stage 2 on kept generated ones."""
    from cluster.flow import STAGES, Flow

    with Flow(open_run(config, overrides), progress(as_json), "farm train") as flow:
        flow.folder.verdicts()
        flow.train()
    places = {stage: flow.folder.store.url(f"detectors/{stage}") for stage in STAGES}
    emit(places, as_json, "\n".join(f"{stage}: {place}" for stage, place in places.items()))


if __name__ == "__main__":
    run_command(command)
