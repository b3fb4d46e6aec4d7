"""What a budget that learns gains over an even one.   python benchmarks/budget.py --data FOLDER     (about ten minutes)

FOLDER is bsdata_pitting/. Three arms of ``translate`` on the embedded model compete for one defect: ``inpaint`` (four
evaluations an image, most are kept), ``strong`` (SDEdit at a strength that changes the whole photograph, taken over
whole, in 19 evaluations) and ``slow`` (``inpaint`` with five times the steps). The same rows, sources and quotas,
uniform and adaptive, three seeds; in one process and one thread, without Ray. A device second is one of generation, as
the ledger counts it.

    gain   kept images a device second, adaptive over uniform, paired by seed
    share  of the last round's rows that each arm has
    kept   share of its rows that each arm keeps under the even budget

Bar: the median gain is at least 1.5.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from benchmarks._ball_screws import ball_screws
from farm.config import Run
from farm.parts import to_batch
from farm.run_folder import RunFolder
from farm.run_ledger import spent
from tests.loop import run_in_a_loop

SEEDS, ROWS, ROUND, SHARD = (1, 2, 3), 192, 32, 16
LEAST_GAIN = 1.5
MASKS = {"kinds": ["real", "procedural"], "min_area": 0.002, "max_area": 0.05}
ARMS = [
    {"kind": "translate", "name": "inpaint", "engine": "inpaint", "steps": 8, "strength": 0.5, "guidance": 4.0},
    {
        "kind": "translate",
        "name": "strong",
        "engine": "sdedit",
        "composite": False,
        "steps": 20,
        "strength": 0.95,
        "guidance": 4.0,
    },
    {"kind": "translate", "name": "slow", "engine": "inpaint", "steps": 40, "strength": 0.5, "guidance": 4.0},
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    rates: dict[str, list[float]] = {"uniform": [], "adaptive": []}
    shares: dict[str, list[float]] = {str(arm["name"]): [] for arm in ARMS}
    kept_shares: dict[str, list[float]] = {name: [] for name in shares}
    for seed in SEEDS:
        for kind in rates:
            with tempfile.TemporaryDirectory() as output:
                run = settings(given.data, Path(output) / "run", seed, kind)
                run_in_a_loop(run)
                folder = RunFolder(run.output)
                kept = int(to_batch(folder.verdicts())["keep"].sum())
                seconds = sum(spent(folder).device_s.values())
                rates[kind].append(kept / seconds)
                print(f"seed {seed}, {kind}: {kept} of {ROWS} kept, {seconds:.0f} device s", flush=True)
                for name, share in (last_round(folder) if kind == "adaptive" else kept_of(folder)).items():
                    (shares if kind == "adaptive" else kept_shares)[name].append(share)
    gains = [one / other for one, other in zip(rates["adaptive"], rates["uniform"], strict=True)]
    figures = {f"{name}.rate": _report.figure(found, "kept/s") for name, found in rates.items()}
    figures["gain"] = _report.figure(gains, "1")
    figures |= {f"share.{name}": _report.figure(found, "1") for name, found in shares.items()}
    figures |= {f"kept.{name}": _report.figure(found, "1") for name, found in kept_shares.items()}
    _report.write("budget", figures, n=len(SEEDS) * ROWS)
    for name, figure in figures.items():
        print(f"{name}: {figure['value']} {figure['unit']} ({figure['low']} to {figure['high']})")
    missed = figures["gain"]["value"] < LEAST_GAIN
    print(f"FAIL: gain is below {LEAST_GAIN}" if missed else "PASS")
    return int(missed)


def settings(data: Path, output: Path, seed: int, kind: str) -> Run:
    """The run of one seed and kind of budget."""
    methods = [{**arm, "masks": MASKS} for arm in ARMS]
    budget = {"kind": kind, "round_rows": ROUND}
    where = "benchmarks/budget.py"
    return ball_screws(where, data, output, ROWS, methods, seed=seed, cluster={"shard_rows": SHARD}, budget=budget)


def last_round(folder: RunFolder) -> dict[str, float]:
    """Each arm's share of the last round's rows."""
    rows = [row for table in folder.candidates(["row", "method"]) for row in table.to_pylist()]
    counted = Counter(row["method"] for row in rows if row["row"] >= ROWS - ROUND)
    return {str(arm["name"]): counted[str(arm["name"])] / ROUND for arm in ARMS}


def kept_of(folder: RunFolder) -> dict[str, float]:
    """The share of its rows that each arm keeps."""
    made = Counter(name for table in folder.candidates(["method"]) for name in table["method"].to_pylist())
    kept = Counter(name for table in folder.kept(["method"]) for name in table["method"].to_pylist())
    return {str(arm["name"]): kept[str(arm["name"])] / made[str(arm["name"])] for arm in ARMS}


if __name__ == "__main__":
    sys.exit(main())
