"""Judging a run on Ray: tentative verdicts shard by shard, then one task that settles duplicates and quotas.

FAISS runs in actors and in that task, which import no torch (decision 8); the driver holds small columns only.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from cluster import pipeline
from cluster.causes import plain
from farm.config import Run
from farm.parts import to_batch, to_table
from farm.rows import VERDICT, VERDICTS, Batch
from farm.run_folder import RunFolder


def settle(run: Run, url: str, shards: Sequence[int]) -> dict[str, int]:
    """Judge ``shards`` and write verdicts.parquet and calibration.json of the present judge."""
    import ray

    tentative = to_batch(pipeline.judge(run, url, shards))
    with plain():
        counts: dict[str, int] = ray.get(ray.remote(num_cpus=1)(settle_run).remote(url, tentative))
    return counts


def settle_run(url: str, tentative: Batch) -> dict[str, int]:
    """Settle ``tentative`` (``rows.VERDICT``, all rows) over the whole run and commit the verdicts."""
    from farm.source_index import read_index
    from farm.stages.judge import Judge
    from farm.stages.judge import settle as settle_rows
    from farm.stages.normals import NormalVectors

    folder = RunFolder(url)
    run = folder.run()
    ids, vectors = NormalVectors(folder, read_index(folder)).read()
    judge = Judge(run.filter, ids, vectors)
    kept = tentative["row"][tentative["keep"].astype(bool)]
    names = ("kind", "category", "defect")
    parts = [to_batch(table) for table in folder.candidates(["row", "embedding", *names])]
    embeddings = np.concatenate([part["embedding"][np.isin(part["row"], kept)] for part in parts])
    kind, category, defect = (np.concatenate([part[name] for part in parts]) for name in names)
    group = kind + "/" + category  # a normal and a defect are never duplicates of each other
    final = settle_rows(run.filter, tentative, embeddings, group, defect)
    folder.write_json(folder.verdict_name("calibration.json"), asdict(judge.calibration))
    folder.write_table(folder.verdict_name("verdicts.parquet"), to_table(final, VERDICT))
    return {name: int((final["verdict"] == name).sum()) for name in VERDICTS}
