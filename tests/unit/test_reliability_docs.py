"""Every test that docs/reliability.md names is there, so that the page promises nothing that nobody checks."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
NAMED = re.compile(r"tests/[\w/.-]+\.py(?:::\w+)*")


def named(text: str) -> list[str]:
    """The tests that ``text`` names: ``tests/<path>.py`` or ``tests/<path>.py::<name>``, each once, in order."""
    return list(dict.fromkeys(NAMED.findall(text)))


def problem(test: str, root: Path) -> str:
    """What is wrong with one name; empty where the file and the function (or class and method) are there."""
    path, *names = test.split("::")
    if not (root / path).is_file():
        return f"{test}: no such file"
    inside: list[ast.stmt] = ast.parse((root / path).read_text()).body
    for name in names:
        found = [node for node in inside if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name]
        if not found:
            return f"{test}: {path} has no {name}"
        inside = found[0].body
    return ""


def test_every_test_that_the_page_names_is_there() -> None:
    tests = named(PAGE.read_text())
    assert len(tests) >= 30
    assert [text for test in tests if (text := problem(test, ROOT))] == []


def test_every_row_of_a_table_of_tests_names_one() -> None:
    """A table whose last column is "test" or "held by" names a test in every row."""
    empty, inside = [], False
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[-1].lower() in ("test", "held by"):
            inside = True
        elif inside and set(line) - set("|-: ") and not named(cells[-1]):
            empty.append(line)
    assert empty == []


@pytest.mark.parametrize(
    ("test", "text"),
    [
        ("tests/a.py::test_one", ""),
        ("tests/a.py::TestBoth::test_two", ""),
        ("tests/a.py", ""),
        ("tests/a.py::test_two", "tests/a.py::test_two: tests/a.py has no test_two"),
        ("tests/b.py::test_one", "tests/b.py::test_one: no such file"),
    ],
)
def test_a_name_that_leads_nowhere_is_found(test: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "a.py").write_text("def test_one(): ...\nclass TestBoth:\n    def test_two(self): ...\n")
    assert named(f"| x | y | `{test}` |") == [test]
    assert problem(test, tmp_path) == text
