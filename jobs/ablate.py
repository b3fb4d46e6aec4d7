"""``farm ablate CONFIG``: what rules, generated images and the filter each add, and whether generating more pays."""

from dataclasses import asdict

import click

from jobs.cli import emit, run_command
from jobs.common import config_options, open_run, progress


@click.command("ablate", help="Train detectors of CONFIG's run on different images, equally long, and compare them.")
@config_options
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1), help="Trainings of each arm.")
@click.option("--without", multiple=True, metavar="ARM", help="Leave an arm out; may be repeated.")
def command(config: str, overrides: tuple[str, ...], as_json: bool, seeds: int, without: tuple[str, ...]) -> None:
    """The run must be judged. Weights and scores are kept in its folder, so that a call that was cut off goes on."""
    from cluster import session
    from cluster.ablate import ablate
    from cluster.flow import Flow
    from farm.ablate import seeds_of
    from farm.ablation_table import HALF, SHOWN, WHOLE, advice, arms_of, table

    shown = progress(as_json)
    with Flow(open_run(config, overrides), shown, "farm ablate") as flow:
        flow.folder.verdicts()
        arms = arms_of(flow.folder, without)
        session.connect(flow.run.cluster)
        chosen = seeds_of(flow.run, seeds)
        found = ablate(flow.run, flow.url, arms, chosen, shown.note)
    lines = table(found, arms, chosen)
    told = advice(found, chosen) if {HALF, WHOLE} <= set(arms) else ""
    result = {"arms": [asdict(line) for line in lines], "seeds": chosen, "advice": told}
    flow.folder.write_json("ablation/table.json", result)
    rows = [f"{'arm':12s}" + "".join(f"{name:>30s}" for name in SHOWN.values())]
    for line in lines:
        cells = [_cell(line.values.get(metric), line.gains.get(metric)) for metric in SHOWN]
        rows.append(f"{line.arm:12s}" + "".join(f"{cell:>30s}" for cell in cells))
    emit(result, as_json, "\n".join([*rows, told]))


def _cell(value: tuple[float, float, float] | None, gain: tuple[float, float, float] | None) -> str:
    """A mean in points, and in brackets the gain over rules with its interval."""
    if value is None:
        return "-"
    mean = f"{100 * value[0]:.1f}"
    return mean if gain is None else f"{mean} ({' '.join(f'{100 * part:+.1f}' for part in gain)})"


if __name__ == "__main__":
    run_command(command)
