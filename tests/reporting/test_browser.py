"""The report in a browser: figures and tables are there, and nothing else is asked for."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bayesmig.progress import silent
from bayesmig.simulation import simulate
from bayesmig.study import run

pytestmark = pytest.mark.browser

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a headless browser with an empty profile, or skip."""
    if not (shutil.which(CHROMIUM) and shutil.which(DRIVER)):
        pytest.skip("no Chromium here")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


STUDY = """
title = "A study that was run"
survey = "survey/survey.toml"
theories = ["baseline", "networks"]
scenarios = ["network_cut", "border_closure"]
seed = 3
[sampling]
chains = 2
draws = 50
tune = 50
[questions]
by = ["female"]
comparisons = ["female", "wealth"]
slopes = ["network_internal", "network_international"]
"""


@pytest.fixture(scope="module")
def run_folder(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what `bayesmig run` left of a small study; after the browser, which may be absent."""
    home = tmp_path_factory.mktemp("run")
    simulate(home / "survey", persons=500, seed=2)
    (home / "study.toml").write_text(STUDY)
    return run(home / "study.toml", home / "out", progress=silent).folder


@pytest.fixture(params=["run_folder", "study_folder"])
def report(request: pytest.FixtureRequest) -> Path:
    """Return a report that a run wrote, and one of made-up numbers."""
    folder: Path = request.getfixturevalue(request.param)
    return folder / "report.html"


def visit(browser: Any, page: Path, width: int = 1200) -> dict[str, list[str]]:
    """Open a page; return what its console said and what it asked for."""
    # What was said about an earlier page is taken away.
    browser.get_log("browser")
    browser.get_log("performance")
    browser.set_window_size(width, 1000)
    browser.get(page.as_uri())
    events = [json.loads(e["message"])["message"] for e in browser.get_log("performance")]
    # The browser's own pages ask too; only what this page asks for counts.
    asked = [
        e["params"]["request"]["url"]
        for e in events
        if e["method"] == "Network.requestWillBeSent"
        and e["params"].get("documentURL") == page.as_uri()
    ]
    return {
        "console": [e["message"] for e in browser.get_log("browser")],
        "asked": [u for u in asked if u != page.as_uri() and not u.startswith("data:")],
    }


def ask(browser: Any, script: str) -> Any:
    return browser.execute_script(f"return {script}")


def test_report_opens_without_a_word_or_a_request(browser: Any, report: Path) -> None:
    assert visit(browser, report) == {"console": [], "asked": []}
    assert browser.title in ("A study that was run", "Who goes where? A synthetic survey")


def test_planted_request_and_error_are_seen(browser: Any, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<!DOCTYPE html><img src="missing.png"><script>nothing()</script>')
    found = visit(browser, page)
    assert any("missing.png" in url for url in found["asked"])
    assert any("nothing is not defined" in line for line in found["console"])


def test_figures_and_tables_are_seen(browser: Any, report: Path) -> None:
    visit(browser, report)
    sizes = ask(
        browser,
        "[...document.querySelectorAll('figure svg')]"
        ".map(s => s.getBoundingClientRect()).map(r => [r.width, r.height])",
    )
    assert len(sizes) >= 12
    assert all(width > 600 and height > 100 for width, height in sizes)
    drawn = "[...document.querySelectorAll('figure svg')].map(s => s.querySelectorAll('{}').length)"
    assert min(ask(browser, drawn.format("path, use"))) > 5
    assert min(ask(browser, drawn.format("text"))) > 5
    rows = "[...document.querySelectorAll('table')].map(t => t.tBodies[0].rows.length)"
    assert len(ask(browser, rows)) >= 10
    assert min(ask(browser, rows)) > 0


@pytest.mark.parametrize("width", [1200, 500])
def test_page_is_as_wide_as_the_window(browser: Any, report: Path, width: int) -> None:
    visit(browser, report, width)
    inner, page = ask(browser, "[window.innerWidth, document.documentElement.scrollWidth]")
    assert page <= inner
    # Letters of figures stay readable: wide figures scroll.
    least = ask(
        browser,
        "Math.min(...[...document.querySelectorAll('figure svg text')]"
        ".map(t => t.getBoundingClientRect().height))",
    )
    assert least > 8


def test_words_stay_within_their_figures(browser: Any, report: Path) -> None:
    """Fonts of the page differ from those that figures were laid out with."""
    visit(browser, report)
    outside = ask(
        browser,
        """[...document.querySelectorAll('figure svg')].flatMap(s => {
            const r = s.getBoundingClientRect();
            return [...s.querySelectorAll('text')].filter(t => {
                const b = t.getBoundingClientRect();
                return b.left < r.left - 2 || b.right > r.right + 2;
            }).map(t => t.textContent);
        })""",
    )
    assert outside == []


def test_contents_lead_to_their_sections(browser: Any, report: Path) -> None:
    visit(browser, report)
    missing = ask(
        browser,
        "[...document.querySelectorAll('nav a')].map(a => a.getAttribute('href').slice(1))"
        ".filter(id => !document.getElementById(id))",
    )
    assert missing == []
