"""``farm export RUN --to FORMAT --out FOLDER``: the kept pictures of a run for other programs (docs/exports.md)."""

import click

from jobs.cli import emit, run_command

FORMATS = ("mvtec", "webdataset", "huggingface", "coco", "yolo")
MIB = 2**20


@click.command("export", help="Write the kept pictures of the run folder RUN for other programs.")
@click.argument("run")
@click.option("--to", "name", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option("--out", required=True, metavar="FOLDER_OR_URL", help="An empty folder, or one of the same export.")
@click.option("--kept-only/--all", "kept_only", default=True, help="All: refused pictures too, with their verdicts.")
@click.option("--with-sources", is_flag=True, help="Copy the run's real normals of the training split too.")
@click.option(
    "--shard-bytes",
    type=click.IntRange(min=MIB),
    default=256 * MIB,
    show_default=True,
    help="Largest tar or Parquet file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    run: str, name: str, out: str, kept_only: bool, with_sources: bool, shard_bytes: int, as_json: bool
) -> None:
    """The same run and options give the same bytes; nothing is said to be done before it was read back."""
    from farm.export import FORMATS as KNOWN
    from farm.export import export_run
    from farm.run_folder import RunFolder

    done = export_run(RunFolder(run), KNOWN[name], out, not kept_only, with_sources, shard_bytes)
    labels = ", ".join(f"{count} {label}" for label, count in sorted(done["labels"].items()))
    lines = [f"{name}: {done['pictures']} pictures ({labels}) in {done['files']} files: {out}"]
    if done["unmarked"]:
        lines.append(f"left out: {done['unmarked']} kept defects whose masks mark nothing")
    emit(done, as_json, "\n".join(lines))


if __name__ == "__main__":
    run_command(command)
