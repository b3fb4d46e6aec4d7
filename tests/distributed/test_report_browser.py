"""The report in a real browser without a network: every picture decodes, nothing is logged, the controls work."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from farm.report import build_report
from tests.factories import make_run_folder

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page is not opened")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--window-size=1400,1000",
)
SCRIPT = """
window.addEventListener("load", () => {
  const shown = () => [...document.querySelectorAll("#cards > li")].filter((card) => !card.hidden);
  const pick = (name, value) => {
    const form = document.getElementById("filters");
    form.elements[name].value = value;
    form.dispatchEvent(new Event("input"));
    return shown();
  };
  const say = (name, value) => { document.body.dataset[name] = value; };
  say("first", shown().length);
  document.getElementById("more").click();
  say("more", shown().length);
  say("failed", pick("outcome", "failed").map((card) => card.dataset.outcome).join());
  say("none", pick("reason", "irrelevant").length + "/" + document.getElementById("none").hidden);
  document.getElementById("clear").click();
  say("cleared", shown().length);
  say("sorted", pick("order", "score-up").slice(0, 5).map((card) => card.dataset.score).join());
  shown()[0].querySelector(".enlarge").click();
  const body = document.getElementById("viewerbody");
  say("viewer", document.getElementById("viewer").open + "/" + body.querySelectorAll("img").length);
  const before = document.getElementById("viewerbody").textContent;
  document.getElementById("next").click();
  say("moved", before !== document.getElementById("viewerbody").textContent);
  document.getElementById("close").click();
  document.getElementById("theme").click();
  say("theme", document.documentElement.dataset.theme);
});
"""


def opened(page: Path, profile: Path) -> tuple[dict[str, str], list[str]]:
    """(data attributes of the body, console lines) of ``page`` once it has loaded."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = re.search(r"<body([^>]*)>", done.stdout)
    assert body is not None, done.stderr[-2000:]
    return dict(re.findall(r'data-([a-z]+)="([^"]*)"', body.group(1))), re.findall(r".*CONSOLE.*", done.stderr)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run_folder(tmp_path_factory.mktemp("browser"), rows=300, size_px=128, shard_rows=100)
    return Path(build_report(folder))


def test_a_page_of_300_samples_shows_every_picture_without_a_word_in_the_console(page: Path, tmp_path: Path) -> None:
    assert page.stat().st_size < 15e6
    data, console = opened(page, tmp_path / "profile")
    images, broken, errors = (int(part) for part in data["ready"].split("/"))
    assert (broken, errors, console) == (0, 0, [])
    assert images > 300 * 3


def test_filters_order_viewer_and_theme_work(page: Path, tmp_path: Path) -> None:
    """A copy of the page with a script that uses its controls (and without the policy that forbids such a script)."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    copy = tmp_path / "driven.html"
    copy.write_text(html.replace("</body>", f"<script>{SCRIPT}</script></body>"))
    data, console = opened(copy, tmp_path / "profile")
    assert console == []
    assert (data["first"], data["more"]) == ("24", "48")
    assert data["failed"] == ",".join(["failed"] * 24)
    assert data["none"] == "0/false"
    assert data["cleared"] == "24"
    scores = [float(score) for score in data["sorted"].split(",")]
    assert scores == sorted(scores)
    assert (data["viewer"], data["moved"]) == ("true/8", "true")
    assert data["theme"] in ("dark", "light")


def test_a_picture_that_does_not_decode_and_a_forbidden_script_are_noticed(page: Path, tmp_path: Path) -> None:
    """The check can fail: a broken picture, and a script that the page's policy refuses to run."""
    html = page.read_text().replace("data:image/jpeg;base64,", "data:image/jpeg;base64,AAAA", 1)
    copy = tmp_path / "broken.html"
    copy.write_text(html.replace('<main class="wide">', '<main class="wide"><script>document.title = "x"</script>'))
    data, console = opened(copy, tmp_path / "profile")
    assert int(data["ready"].split("/")[1]) >= 1
    assert any("Content Security Policy" in line for line in console)
