"""``farm plan CONFIG``: what would be made and what it asks of the cluster; nothing is started or written."""

from typing import Any

import click

from jobs.cli import emit, run_command
from jobs.common import config_options, open_run


@click.command("plan", help="Show what CONFIG would make and what it asks of the cluster; start nothing.")
@config_options
@click.option("--first", default=5, show_default=True, help="Show this many rows of the plan.")
def command(config: str, overrides: tuple[str, ...], as_json: bool, first: int) -> None:
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
    emit(value, as_json, _text(value))
    if run.cluster.address is None:
        resources.check(run, resources.local_resources(run.cluster))


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
