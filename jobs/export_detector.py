"""``farm export-detector MODEL``: a trained detector as ONNX or TorchScript, with a card that says how to use it."""

from typing import Literal

import click

from jobs.cli import emit, run_command


@click.command("export-detector", help="Write the detector of MODEL (its folder, or a run's) as ONNX or TorchScript.")
@click.argument("model")
@click.option("--to", type=click.Choice(["onnx", "torchscript"]), default="onnx", show_default=True)
@click.option("--out", help="Folder to write; by default <detector>/<format>.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def command(model: str, to: Literal["onnx", "torchscript"], out: str | None, as_json: bool) -> None:
    """Scaling of pixels, maps and scores are inside the graph; it is held against the torch detector first."""
    from farm.detector.export import export_detector
    from farm.detector.opened import open_trained
    from farm.store import Store

    detector, card, place = open_trained(model)
    target = Store(out or f"{place}/{to}")
    told = export_detector(detector, card, to, target.root)
    text = f"{target.url(told['file'])}: within {told['largest_difference']:.1g} of the torch detector"
    emit(told, as_json, f"{text}\n{target.url('card.json')}")


if __name__ == "__main__":
    run_command(command)
