"""``farm plan CONFIG``: what would be made and what it asks of the cluster; nothing is started.

Only ``--target`` writes: its forecast, beside the pilot run that it goes by.
"""

from dataclasses import asdict
from functools import partial
from typing import Any

import click

from farm.config import Run
from jobs.cli import emit, run_command
from jobs.common import config_options, open_run


@click.command("plan", help="Show what CONFIG would make and what it asks of the cluster; start nothing.")
@config_options
@click.option("--first", default=5, show_default=True, help="Show this many rows of the plan.")
@click.option("--target", type=click.IntRange(min=1), help="Say what so many kept images would take.")
@click.option("--pilot", help="Run folder that --target goes by; the config's own by default.")
def command(
    config: str, overrides: tuple[str, ...], as_json: bool, first: int, target: int | None, pilot: str | None
) -> None:
    """Counts by split and arm, shards, the first rows, and each phase's sum of CPUs and GPUs."""
    from cluster import resources
    from farm.datasets import load_photos
    from farm.plan import Plan
    from farm.prepare import fingerprints

    run = open_run(config, overrides)
    photos = load_photos(run.data)
    prints = fingerprints(run, photos)
    plan = Plan(run, photos, prints["model"])
    asks = {
        phase: {"cpus": sum(a.count * a.cpus for a in part), "gpus": sum(a.count * a.gpus for a in part)}
        for phase, part in resources.phases(run).items()
    }
    rows = [plan.row(number) for number in range(min(first, len(plan)))]
    value: dict[str, Any] = {
        "photographs": {
            "train": len(photos.train),
            "few_shot": len(photos.shots),
            "test": len(photos.test),
            "refused": len(photos.refused),
        },
        "rows": len(plan),
        "shards": plan.shard_count,
        "fingerprints": prints,
        "asks": asks,
        "first_rows": rows,
    }
    lines = [_text(value)]
    if target is not None:
        value["forecast"], told = _forecast(run, pilot or run.output, target)
        lines.append(told)
    emit(value, as_json, "\n".join(lines))
    if run.cluster.address is None:
        resources.check(run, partial(resources.local_resources, run.cluster))


def _forecast(run: Run, pilot: str, target: int) -> tuple[dict[str, Any], str]:
    from farm.forecast import forecast, keep, last_error
    from farm.run_folder import RunFolder

    folder = RunFolder(pilot)
    error = last_error(folder, run)
    made = forecast(run, folder, target)
    keep(folder, made)
    wanted = (
        ("images to make", made.total("attempts"), 1.0, ""),
        ("device hours", made.total("device_s"), 3600.0, ""),
        (f"hours on {made.workers} workers with {made.gpus:g} GPUs", made.hours, 1.0, ""),
        ("gigabytes", made.total("bytes"), 1e9, ""),
        ("money", made.total("money"), 1.0, f" {made.currency}"),
    )
    lines = [f"{target} kept images, going by {made.kept} kept in {made.shards} shards of {folder.store.root}:"]
    for name, interval, unit, after in wanted:
        low, value, high = (number / unit for number in (interval.low, interval.value, interval.high))
        lines.append(f"  {name}: {value:,.2f}{after}  (95 %: {low:,.2f} to {high:,.2f})")
    off = f"{error['device_s']:+.0%} of its device time a kept image" if error else "not known yet"
    lines.append(f"  the last forecast was off by: {off}")
    return {**asdict(made), "last_error": error}, "\n".join(lines)


def _text(value: dict[str, Any]) -> str:
    lines = [
        "photographs: " + ", ".join(f"{count} {split}" for split, count in value["photographs"].items()),
        f"rows: {value['rows']} in {value['shards']} shards",
        *(f"{phase} asks for {ask['cpus']:g} CPUs, {ask['gpus']:g} GPUs" for phase, ask in value["asks"].items()),
    ]
    for row in value["first_rows"]:
        way = f"{row['method']}/{row['recipe']}" if row["recipe"] else row["method"]
        lines.append(f"row {row['row']}: {way}, {row['defect']} on {row['source_id']}, mask {row['mask_kind']}")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(command)
