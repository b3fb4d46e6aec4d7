"""The image: hadolint's rules with a planted error each, and what the manifests and the lock ask of it."""

import re
import shutil
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.dockerfile import instructions, lint

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text()

PLANTED = {
    "case": ("USER 1000:1000", "user 1000:1000"),
    "DL3006": ("FROM python:${PYTHON} AS runtime", "FROM debian AS runtime"),
    "DL3007": ("FROM python:${PYTHON} AS runtime", "FROM python:latest AS runtime"),
    "pinned-base": ("ARG PYTHON=3.11.13-slim-bookworm", "ARG PYTHON=3-slim"),
    "DL3013": ("uv==0.13.8", "uv"),
    "DL3008": ("# hadolint ignore=DL3008\n", ""),
    "DL3009": ("    && rm -rf /var/lib/apt/lists/* \\\n", ""),
    "DL3015": (" --no-install-recommends", ""),
    "DL3014": ("apt-get install -y", "apt-get install"),
    "DL3027": ("apt-get update", "apt update"),
    "DL3003": ("RUN python -m venv /opt/farm", "RUN cd /opt && python -m venv farm"),
    "DL3004": ("RUN apt-get update", "RUN sudo apt-get update"),
    "DL4006": ("RUN apt-get update", "RUN apt-get update | cat"),
    "DL3020": ("COPY . .", "ADD . ."),
    "DL3000": ("WORKDIR /build", "WORKDIR build"),
    "DL3022": ("--from=packages-cpu", "--from=pakages"),
    "DL3025": ('CMD ["farm", "--help"]', "CMD farm --help"),
    "DL4000": ("WORKDIR /build", "MAINTAINER someone\nWORKDIR /build"),
    "DL3002": ("USER 1000:1000", "USER root"),
    "secret": ('ARG TORCH_INDEX=""', 'ARG INDEX_TOKEN=""'),
}


def test_the_image_breaks_no_rule() -> None:
    assert lint(DOCKERFILE) == []


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_error_is_found(rule: str) -> None:
    before, after = PLANTED[rule]
    assert before in DOCKERFILE
    assert rule in {found for found, _ in lint(DOCKERFILE.replace(before, after))}


def test_a_rule_names_its_line() -> None:
    assert lint("FROM python:3.11.13 AS a\nRUN true && \\\n  cd /x\nUSER 1:1\n") == [("DL3003", 2)]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_itself_agrees() -> None:
    done = subprocess.run(["hadolint", "-"], input=DOCKERFILE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_both_targets_are_there_and_run_as_the_manifests_user() -> None:
    stages = {line.stage for line in instructions(DOCKERFILE)}
    assert {"cpu", "cuda"} <= stages
    manifest = (ROOT / "k8s" / "base" / "rayjob.yaml").read_text()
    assert "USER 1000:1000" in DOCKERFILE
    assert "runAsUser: 1000\n        runAsGroup: 1000" in manifest


def test_the_builders_tools_are_those_of_the_lock_or_named() -> None:
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    (setuptools,) = re.findall(r"setuptools==\S+", DOCKERFILE)
    assert setuptools in lock


def test_the_build_is_given_what_it_copies_and_nothing_more() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    packages = [pattern.rstrip("*") for pattern in re.findall(r'"(\w+\*)"', (ROOT / "pyproject.toml").read_text())]
    named = {name for line in instructions(DOCKERFILE) if line.word == "COPY" for name in line.rest.split()[:-1]}
    assert {*packages, *(name for name in named if (ROOT / name).is_file())} == set(kept)
    assert not any(fnmatch(name, pattern) for name in (".git", "runs", ".env") for pattern in kept)
