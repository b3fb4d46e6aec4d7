"""The command ``farm``. Nothing heavy is imported here: each job imports what it needs when it runs."""

import json
import signal
import sys
from importlib import import_module
from typing import Any

import click

STOPPED = 128  # the shell's way to tell which signal ended a process
JOBS: dict[str, str] = {
    "demo": "Make, filter and learn from defects on the demo photographs, from start to report.",
    "run": "Run every phase of a config that is not done yet: fit, generate, judge, train, evaluate, report.",
    "plan": "Show what a config would make, and what it asks of the cluster; start nothing.",
    "fit": "Train the adapters of a config's methods on its few-shot photographs.",
    "fit-all": "Train the adapters of many configs as one job, as many at once as the cluster holds.",
    "generate": "Fit, invert, generate, embed, write and judge the missing shards of a config.",
    "ablate": "Train detectors on different images of a judged run, equally long, and compare them.",
    "judge": "Judge a finished run again with other thresholds, from its stored vectors; no GPU, no cluster.",
    "train": "Train both stages of the detector of a config whose images are there.",
    "evaluate": "Score the test photographs with the trained detectors of a config.",
    "export-detector": "Write a trained detector as ONNX or TorchScript, with a card that says how to use it.",
    "predict": "Score photographs with a detector: scores.csv, verdicts and heat maps; no cluster.",
    "report": "Write the ledger and the page of a run folder.",
    "export": "Write a run's kept pictures for other programs: MVTec AD, WebDataset, Hugging Face, COCO, YOLO.",
    "status": "Say how far a run is, how fast, and what failed; from any machine, while it runs.",
    "verify": "Recount a run folder: every planned row once, checksums, pictures, untouched backgrounds.",
    "reproduce": "Make one sample of a run again from its row alone, and compare the bytes.",
    "fit-mini": "Train the embedded models from a recipe: pool, autoencoder, noise predictor, CLIP.",
    "check-manifests": "Check rendered Kubernetes manifests before a cluster sees them.",
    "doctor": "Say what this machine offers, and what is missing.",
}


class Jobs(click.Group):
    """Commands from ``jobs/<name>.py`` (``-`` is ``_`` there), imported when one is asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The jobs, in the order in which a run uses them."""
        return list(JOBS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a job; None where there is no such job."""
        if cmd_name not in JOBS:
            return None
        command: click.Command = import_module(f"jobs.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The jobs with a line each, without importing any of them."""
        with formatter.section("Jobs"):
            formatter.write_dl(list(JOBS.items()))


@click.command(cls=Jobs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="defectfarm", prog_name="farm")
def farm() -> None:
    """Defect Farm: make synthetic defects, filter them, and train a detector that gains from them."""


def main() -> None:
    """Run ``farm``; a user's mistake is printed as one message, and the exit code is 2."""
    run_command(farm)


def run_command(command: click.Command) -> None:
    """Run a click command as a process: exit 0, 2 with one message for a ``FarmError``, 130 or 143 when stopped.

    SIGTERM unwinds the stack, so that a driver gives its lease back; once Ray is joined its own handler does the same.
    """
    from farm.errors import FarmError

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(STOPPED + number))
    try:
        command.main(standalone_mode=False)
    except FarmError as error:
        click.echo(f"farm: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("farm: stopped", err=True)
        sys.exit(STOPPED + signal.SIGINT)
    except SystemExit as stop:
        if stop.code not in (signal.SIGTERM, STOPPED + signal.SIGTERM):
            raise
        click.echo("farm: stopped; the same command goes on from here", err=True)
        sys.exit(STOPPED + signal.SIGTERM)


def emit(value: Any, as_json: bool, text: str) -> None:
    """Print ``value`` as JSON, or ``text``, on standard output."""
    click.echo(json.dumps(value, indent=1, sort_keys=True) if as_json else text)
