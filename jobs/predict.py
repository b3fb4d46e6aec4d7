"""``farm predict MODEL IMAGES… --out DIR``: scores, verdicts and heat maps; exit 1 where a photograph was not read."""

import sys
from pathlib import Path

import click

from jobs.cli import emit, run_command


@click.command("predict", help="Score IMAGES (files, folders or patterns) with the detector MODEL, with heat maps.")
@click.argument("model")
@click.argument("images", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--max-megapixels", type=click.FloatRange(min=0, min_open=True), default=50.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    model: str,
    images: tuple[str, ...],
    out: Path,
    device: str,
    batch_size: int,
    max_megapixels: float,
    as_json: bool,
) -> None:
    """MODEL is a run folder (its detector of stage 2), a detector's folder, or an exported .onnx or .pt."""
    from farm.detector.inspection import SCORES, Inspector, find_images
    from farm.detector.opened import open_detector

    paths = find_images(images, out)
    opened = open_detector(model, batch_size, device)
    inspector = Inspector(opened.detect, opened.size_px, opened.threshold, batch_size, max_megapixels)
    counts = inspector.inspect(paths, out)
    told = {name: counts[name] for name in ("scored", "good", "defective", "refused")}
    how = f"{told['good']} good, {told['defective']} defective"
    if opened.threshold is None:
        how = "no verdicts: no threshold, train with train.validation_share"
    text = f"{len(paths)} photographs: {told['scored']} scored ({how}), {told['refused']} not read\n{out / SCORES}"
    emit({**told, "threshold": opened.threshold, "scores": str(out / SCORES)}, as_json, text)
    if told["refused"]:
        sys.exit(1)


if __name__ == "__main__":
    run_command(command)
