"""Judging a finished run again in this process: other thresholds, other verdicts, the same images. No Ray, no torch."""

from collections.abc import Sequence

from farm.config import Run, parse
from farm.config.load import override
from farm.errors import ConfigError, RunError
from farm.prepare import judge_fingerprints
from farm.run_folder import RunFolder
from farm.settle_folder import settle_folder
from farm.source_index import read_index
from farm.stages.photo_vectors import PhotoVectors
from farm.stages.tentative import Tentative


def rejudge(folder: RunFolder) -> bool:
    """Make the verdicts of the folder's filter from stored vectors; False where they are there already.

    Raises ``RunError`` where a shard or the photographs' vectors are missing: ``farm generate`` has work to do first.
    """
    tentative = Tentative(folder)
    if folder.store.exists(folder.verdict_name("verdicts.parquet")):
        tentative.clear()
        return False
    photos, shards = read_index(folder), folder.shard_count()
    vectors = PhotoVectors(folder, photos)
    missing = shards - len(folder.done_shards())
    unread = len(vectors.missing())
    if missing or unread:
        raise RunError(
            f"{folder.store.root}: {missing} of {shards} shards and {unread} of {len(vectors)} blocks of the "
            "photographs' vectors are missing; run 'farm generate' on the run's config first"
        )
    judge = tentative.judge(folder.run(), photos)
    for shard in tentative.missing(range(shards)):
        tentative.write(shard, judge)
    settle_folder(folder)
    return True


def change_filter(folder: RunFolder, overrides: Sequence[str]) -> Run:
    """Let the folder's config have ``filter.a=b`` overrides, which name another judge; images stay as they are.

    Raises ``ConfigError`` for any other setting: it would decide other images, vectors or weights.
    """
    foreign = [text for text in overrides if not text.startswith("filter.")]
    if foreign:
        raise ConfigError(f"'{foreign[0]}': judging again changes the filter only; give --set filter.<setting>=<value>")
    settings = folder.settings()
    for text in overrides:
        override(settings["config"], text)
    run = parse(settings["config"], folder.store.url("run.yaml"))
    prints = {**settings["fingerprints"], **judge_fingerprints(run, settings["fingerprints"])}
    if prints != settings["fingerprints"] or run != folder.run():
        settings |= {"config": run.model_dump(mode="json"), "fingerprints": prints}
        folder.write_settings(settings)
    return run
