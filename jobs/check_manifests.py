"""``farm check-manifests FILE ...``: Ray's Kubernetes manifests before a cluster sees them; exit 1 for findings."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import IO

import click

from jobs.cli import emit, run_command


@click.command(
    "check-manifests", help="Check rendered Kubernetes manifests (- reads standard input) before applying them."
)
@click.argument("files", nargs=-1, required=True, type=click.File("rb"))
@click.option(
    "--crds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of KubeRay's CRDs: check names and types strictly too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def command(files: tuple[IO[bytes], ...], crds: Path | None, as_json: bool) -> None:
    """Operator rules that no schema has, security, and worker groups against the config that the job runs."""
    from cluster.manifests import check, read_documents

    documents = [document for file in files for document in read_documents(file.read(), file.name)]
    findings = check(documents, crds)
    said = [str(finding) for finding in findings] or [f"{len(documents)} manifests, nothing wrong"]
    emit([asdict(finding) for finding in findings], as_json, "\n".join(said))
    if findings:
        sys.exit(1)


if __name__ == "__main__":
    run_command(command)
