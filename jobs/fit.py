"""``farm fit CONFIG``: train the adapters of a run's methods on its few-shot photographs."""

import json

import click

from farm.errors import ConfigError
from jobs.cli import emit, run_command
from jobs.common import config_options, open_run, progress


@click.command("fit", help="Train each method of CONFIG that has a 'fit' section; cut off, it goes on.")
@config_options
def command(config: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """One training an arm, on the workers of ``cluster.fit``; an adapter that is there and fits is left alone."""
    from cluster.flow import Flow
    from farm.fitting.adapters import CARD, fitted_arms, own_adapter
    from farm.store import Store

    run = open_run(config, overrides)
    if not fitted_arms(run):
        raise ConfigError(
            f"{config}: no method learns here; give one a 'fit' section, e.g. fit: {{loop: {{steps: 800}}}} "
            "(one with an 'adapter' takes that as it is)"
        )
    with Flow(run, progress(as_json), "farm fit") as flow:
        flow.fit()
    made, lines = {}, []
    for arm in fitted_arms(run):
        card = json.loads(Store(own_adapter(run, arm)).read(CARD))
        shots = len(card["dataset"]["shots"])
        made[arm] = {
            "adapter": own_adapter(run, arm),
            "steps": card["steps"],
            "shots": shots,
            "left_out": card["dataset"]["left_out"],
            "sha256": card["sha256"],
        }
        lines.append(f"{arm}: {card['steps']} steps on {shots} shots -> {own_adapter(run, arm)}")
        lines += [f"  left out: {problem}" for problem in card["dataset"]["left_out"]]
    emit(made, as_json, "\n".join(lines))


if __name__ == "__main__":
    run_command(command)
