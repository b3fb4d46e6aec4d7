"""A million rows through plan, generation, embedding and writing, with a method that computes nothing.

python benchmarks/spine.py [--rows 1000000] [--shard-rows 2000] [--judge]     (about twenty minutes on two cores)

The method is ``null`` at 32 px with the embedder ``pixels``, so what is measured is the farm itself: rows a second,
and whether memory stays flat. Memory is anonymous memory (resident less shared: pages of Ray's object store, which
every worker maps, are counted to nobody), sampled every two seconds; its slope is that of a straight line through the
samples of the last half of the rows, for the driver and for the largest process of each kind of worker. raylet and
gcs_server are Ray's own and are reported without a bar. Then the same config is run again in a fresh process, which
finds nothing to do, and ``farm verify`` recounts the folder. With ``--judge`` the verdicts are made too;
near-duplicates are told at a cosine of 0.9, since exact search over a million kept rows would be the whole of it.

Bars: less than 1 MB per 100,000 rows each; less than 30 s for the second run; a whole folder.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import _report
from cluster.progress import Silent
from farm.config import Run
from tests.photos import make_run, make_tree

SIDE, EVERY_S, MB = 32, 2.0, 1e6
MOST_SLOPE, MOST_RESUME_S = 1.0, 30.0
LEAST_SAMPLES = 10  # of the last half, for a slope
UNBARRED = ("raylet", "gcs_server")
Sample = dict[str, Any]  # t, rows, own: kind → MB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shard-rows", type=int, default=2000)
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--folder", type=Path, help="where photographs and the run go; by default a temporary one")
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # the file that a fresh process writes its samples to
    given = parser.parse_args()
    if given.inside:
        return work(given.folder, given.rows, given.shard_rows, given.judge, Path(given.inside))
    if given.folder:
        return measure(given.folder, given)
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder), given)


def measure(folder: Path, given: argparse.Namespace) -> int:
    """Run, run again and verify, each in a fresh process; writes the figures."""
    make_tree(folder / "plates", train=24, side=SIDE)
    first = told(folder, given, "first.json")
    second = told(folder, given, "second.json")
    problems = recount(folder / "run")
    figures, missed = judged(first, given.rows)
    figures["resume"] = _report.figure([second["seconds"]], "s")
    figures["problems"] = _report.figure([float(problems)], "1")
    if second["rows"]:
        missed.append(f"the second run made {second['rows']} rows again")
    if second["seconds"] >= MOST_RESUME_S:
        missed.append(f"the second run took {second['seconds']:.1f} s")
    if problems:
        missed.append(f"farm verify found {problems} problems")
    _report.write("spine", figures, n=given.rows)
    for name, figure in figures.items():
        print(f"{name}: {figure['value']} {figure['unit']}")
    print(f"FAIL: {'; '.join(missed)}" if missed else "PASS")
    return 1 if missed else 0


def told(folder: Path, given: argparse.Namespace, name: str) -> dict[str, Any]:
    """What a fresh process measured of the run; ``seconds`` is its whole life, imports included."""
    command = [sys.executable, __file__, "--rows", given.rows, "--shard-rows", given.shard_rows, "--folder", folder]
    begun = time.perf_counter()
    extra = ["--judge"] if given.judge else []
    subprocess.run([str(word) for word in (*command, *extra, "--inside", folder / name)], check=True)
    seconds = time.perf_counter() - begun
    return {**json.loads((folder / name).read_text()), "seconds": seconds}


def recount(run: Path) -> int:
    """How many problems ``farm verify`` finds in the folder."""
    command = [sys.executable, "-m", "jobs.verify", str(run), "--json"]
    done = subprocess.run(command, cwd=_report.ROOT, capture_output=True, text=True, check=False)
    return len(json.loads(done.stdout)["problems"])


def judged(first: dict[str, Any], rows: int) -> tuple[dict[str, _report.Figure], list[str]]:
    """The figures of the run, and the bars that it missed, in words."""
    commits, samples = first["commits"], first["samples"]
    (begun, head), (ended, _) = commits[0], commits[-1]
    figures = {
        "rate": _report.figure([(rows - head) / (ended - begun)], "rows/s"),
        "rate.with_start": _report.figure([rows / first["seconds"]], "rows/s"),
        "bytes": _report.figure([first["bytes"] / rows], "B/row"),
    }
    missed = []
    for kind in sorted({kind for sample in samples for kind in sample["own"]}):
        sizes = [sample["own"][kind] for sample in samples if kind in sample["own"]]
        figures[f"{kind}.peak"] = _report.figure([max(sizes)], "MB")
        slope = slope_of(samples, kind, rows)
        if slope is None:
            missed.append(f"{kind}: too few samples for a slope; give more rows")
            continue
        figures[f"{kind}.slope"] = _report.figure([slope], "MB/100k rows")
        if slope >= MOST_SLOPE and kind not in UNBARRED:
            missed.append(f"{kind} grows by {slope:.2f} MB per 100,000 rows")
    return figures, missed


def slope_of(samples: list[Sample], kind: str, rows: int) -> float | None:
    """MB per 100,000 rows over the last half of the rows, by least squares; None with too few samples."""
    last = [(sample["rows"], sample["own"][kind]) for sample in samples if kind in sample["own"]]
    late = np.array([pair for pair in last if rows / 2 <= pair[0] < rows], np.float64)
    if len(late) < LEAST_SAMPLES or np.ptp(late[:, 0]) == 0:
        return None
    return float(np.polyfit(late[:, 0], late[:, 1], 1)[0] * 1e5)


def work(folder: Path, rows: int, shard_rows: int, judge: bool, result: Path) -> int:
    """In a process of its own: run the config, and write what was sampled meanwhile."""
    from cluster.flow import Flow

    watch = Watch()
    with Flow(settings(folder, rows, shard_rows), watch) as flow:
        watch.begin()
        flow.generate()
        watch.end()
        if judge:
            flow.judge()
    parts = (folder / "run" / "candidates").glob("shard-*/part.parquet")
    size = sum(part.stat().st_size for part in parts)
    result.write_text(
        json.dumps({"samples": watch.samples, "commits": watch.commits, "rows": watch.rows, "bytes": size})
    )
    return 0


def settings(folder: Path, rows: int, shard_rows: int) -> Run:
    """The dry run: two generating actors, one that embeds and one that writes, on two CPUs."""
    return make_run(
        folder / "plates",
        folder / "run",
        name="spine",
        rows=rows,
        size_px=SIDE,
        methods=[{"kind": "null", "masks": {"kinds": ["perlin"]}}],
        embed={"kind": "pixels"},
        compute={"batch_size": 64},
        filter={"near_duplicate": 0.9},
        cluster={
            "shard_rows": shard_rows,
            "num_cpus": 2,
            "generate": {"actors": 2, "cpus": 0.7},
            "embed": {"cpus": 0.3},
            "write": {"cpus": 0.3},
        },
    )


class Watch(Silent):
    """Progress that notes when how many rows were committed, and samples memory beside it."""

    def __init__(self) -> None:
        self.rows = 0
        self.commits: list[tuple[float, int]] = []
        self.samples: list[Sample] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def advance(self, finished: int, counts: dict[str, int]) -> None:  # noqa: ARG002
        """Note the rows of ``counts``; of phases that have none, nothing."""
        if "rows" in counts:
            self.rows = counts["rows"]
            self.commits.append((time.perf_counter(), self.rows))

    def begin(self) -> None:
        """Sample from now on."""
        self._thread.start()

    def end(self) -> None:
        """Sample no more."""
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(EVERY_S):
            self.samples.append({"t": time.perf_counter(), "rows": self.rows, "own": memory()})


def memory() -> dict[str, float]:
    """Kind of process → anonymous memory in MB of the largest of it: this process, and Ray's that it started."""
    here = psutil.Process()
    own = {"driver": anonymous(here)}
    for process in here.children(recursive=True):
        try:
            kind = kind_of(process.cmdline())
            if kind:
                own[kind] = max(own.get(kind, 0.0), anonymous(process))
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it ended between two questions
            continue
    return own


def kind_of(cmdline: list[str]) -> str:
    """What runs behind a command line: the class of a Ray Data actor, Ray's own servers, or "" for all else."""
    title = cmdline[0] if cmdline else ""
    actor = re.match(r"ray::.*MapBatches\((\w+)\)", title)
    return actor.group(1) if actor else Path(title).name if Path(title).name in UNBARRED else ""


def anonymous(process: psutil.Process) -> float:
    """Resident memory that is no file's and no one else's, in MB."""
    sizes = process.memory_info()
    return float(sizes.rss - sizes.shared) / MB


if __name__ == "__main__":
    sys.exit(main())
