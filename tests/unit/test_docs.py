"""Numbers in the docs are those of the benchmarks' JSON, and pictures that pages show are there."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml

from farm.config import DataConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


def test_tables_are_those_of_the_benchmarks() -> None:
    command = [sys.executable, "benchmarks/tables.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.name)
def test_every_result_says_how_it_was_measured(path: Path) -> None:
    told = json.loads(path.read_text())
    assert {"command", "commit", "machine", "versions", "n", "figures"} <= told.keys()
    assert all({"value", "unit", "low", "high"} <= figure.keys() for figure in told["figures"].values())


def test_every_layout_has_its_config_lines_in_the_docs() -> None:
    text = (ROOT / "docs" / "datasets.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    configs = [DataConfig.model_validate(yaml.safe_load(block)["data"]) for block in blocks]
    kinds = get_args(DataConfig.model_fields["kind"].annotation)
    assert sorted(config.kind for config in configs) == sorted(kinds)
    assert re.findall(r"^## (\w+)$", text, flags=re.MULTILINE) == [config.kind for config in configs]
