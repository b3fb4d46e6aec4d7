"""Tables of what the farm itself costs and stands: chaos, a million rows, overhead, near-duplicates."""

from __future__ import annotations

from typing import Any

Told = dict[str, Any]


def _value(told: Told, name: str) -> float:
    return float(told["figures"][name]["value"])


def _foot(told: Told) -> str:
    machine = told["machine"]
    return (
        f"\n`{told['command']}`, commit {told['commit']}, {machine['cpu']}, {machine['cpus']} cores, n = {told['n']}.\n"
    )


def spine(told: Told) -> str:
    """A million rows: rates, and memory by kind of process."""
    kinds = [name.removesuffix(".slope") for name in told["figures"] if name.endswith(".slope")]
    lines = ["| process | memory at most, MB | growth over the last half, MB per 100,000 rows |", "|---|---|---|"]
    for kind in kinds:
        lines.append(f"| {kind} | {_value(told, f'{kind}.peak'):.0f} | {_value(told, f'{kind}.slope'):+.2f} |")
    lines += [
        "",
        f"{_value(told, 'rate'):,.0f} rows/s ({_value(told, 'rate.with_start'):,.0f} with the start of Ray), "
        f"{_value(told, 'bytes'):,.0f} bytes a row; the finished run given again: {_value(told, 'resume'):.1f} s; "
        f"problems that `farm verify` found: {_value(told, 'problems'):.0f}.",
    ]
    return "\n".join(lines) + "\n" + _foot(told)


def overhead(told: Told) -> str:
    """The farm against a bare loop over its method."""
    names = {"bare.rate": "bare loop", "one.rate": "farm, one generating actor", "two.rate": "farm, two"}
    lines = ["| | images/s, median | extremes |", "|---|---|---|"]
    for name, words in names.items():
        figure = told["figures"][name]
        lines.append(f"| {words} | {figure['value']:.2f} | {figure['low']:.2f}, {figure['high']:.2f} |")
    share, gain = told["figures"]["share_of_bare"], told["figures"]["two_of_one"]
    lines += [
        "",
        f"Paired by round: one actor makes {share['value']:.2f} of the bare loop ({share['low']:.2f} to "
        f"{share['high']:.2f}), two make {gain['value']:.2f} times one ({gain['low']:.2f} to {gain['high']:.2f}).",
    ]
    return "\n".join(lines) + "\n" + _foot(told)


def chaos(told: Told) -> str:
    """Trials that ended with the undisturbed dataset, and what hit them."""
    struck = {name.removeprefix("blows."): int(_value(told, name)) for name in told["figures"] if "blows." in name}
    lines = [
        f"{int(_value(told, 'identical'))} of {int(_value(told, 'trials'))} trials ended with the undisturbed dataset: "
        f"{int(_value(told, 'missing'))} rows missing, {int(_value(told, 'duplicate'))} duplicate, "
        f"{int(_value(told, 'differing'))} of other bytes; {int(_value(told, 'not_run'))} could not be played here. "
        f"A trial takes {_value(told, 'seconds'):.0f} s (median).",
        "",
        "| blow | times |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in struck.items()),
    ]
    return "\n".join(lines) + "\n" + _foot(told)


def dedup(told: Told) -> str:
    """What the search for near-duplicates finds, beside within-cell comparison."""
    kinds = [name.removeprefix("recall.") for name in told["figures"] if name.startswith("recall.")]
    lines = ["| planted pairs | found | SemDeDup: within a cell only |", "|---|---|---|"]
    for kind in kinds:
        lines.append(
            f"| {kind.replace('_', ' ')} | {_value(told, f'recall.{kind}'):.4f} | "
            f"{_value(told, f'semdedup.recall.{kind}'):.4f} |"
        )
    workers = sum(_value(told, name) for name in told["figures"] if name.startswith("workers."))
    lines += [
        "",
        f"{told['n']:,} vectors in {_value(told, 'seconds'):.0f} s ({_value(told, 'seconds.cells'):.0f} s to learn "
        f"{_value(told, 'cells'):.0f} cells, {_value(told, 'seconds.assign'):.0f} s to say where each row looks, "
        f"{_value(told, 'looked_into'):.1f} cells on average, {_value(told, 'seconds.search'):.0f} s to look), at most "
        f"{_value(told, 'memory'):.1f} GB. Exact search by FAISS on the same cores would take "
        f"{_value(told, 'sample.exact_seconds'):,.0f} s (from 1 % of the rows): "
        f"{_value(told, 'sample.times_as_fast'):.0f} times as long. Of the rows of that sample that have a duplicate "
        f"{_value(told, 'sample.recall'):.4f} are told; of the reported pairs {_value(told, 'precision'):.4f} are "
        f"near enough. Rows that differ on 1, 2 and 4 workers and in another order: {workers:.0f}. "
        f"SemDeDup's recipe took {_value(told, 'semdedup.seconds'):.0f} s.",
    ]
    return "\n".join(lines) + "\n" + _foot(told)


def filter_quality(told: Told) -> str:
    """What of good images and of each kind of junk is refused."""
    sets = list(dict.fromkeys(name.split(".")[0] for name in told["figures"]))
    kinds = [name.removeprefix(f"{sets[0]}.") for name in told["figures"] if name.startswith(f"{sets[0]}.")]
    lines = ["| share | " + " | ".join(sets) + " |", "|---|" + "---|" * len(sets)]
    for kind in kinds:
        figures = [told["figures"][f"{name}.{kind}"] for name in sets]
        cells = [f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})" for one in figures]
        lines.append(f"| {kind.replace('.', ': ').replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + _foot(told)


TABLES = {"spine": spine, "overhead": overhead, "chaos": chaos, "dedup_1m": dedup, "filter_quality": filter_quality}
