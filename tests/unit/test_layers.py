"""Imports point one way, and nothing heavy loads with the command line."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "diffusers", "transformers", "open_clip", "faiss", "ray", "matplotlib", "cv2", "timm")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "farm").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_science_knows_no_ray(path: Path) -> None:
    assert not imports(path) & {"ray", "cluster", "jobs"}


@pytest.mark.parametrize("path", sorted((ROOT / "cluster").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_wiring_knows_no_jobs(path: Path) -> None:
    assert "jobs" not in imports(path)


@pytest.mark.parametrize(
    "module", ["jobs.cli", "jobs.common", "cluster.manifests", "farm.config", "farm.plan", "farm.run_folder"]
)
def test_light_modules_stay_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    allowed = {"farm.plan": {"cv2"}}.get(module, set())
    assert set(ast.literal_eval(done.stdout.strip())) <= allowed


@pytest.mark.parametrize("module", ["farm.stages.judge", "farm.index", "farm.filters"])
def test_faiss_modules_import_no_torch(module: str) -> None:
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
