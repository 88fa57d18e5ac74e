"""The report as people use it: a real browser opens the pages from the disk, clicks, types and looks."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
import pytest

from harness.core.outcome import Outcome
from harness.core.progress import Quiet
from harness.report.site.build import build
from testcases.support.profiles import thorough
from testcases.support.records import leave_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="there is no Chromium: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),
]
pytest.importorskip("playwright")

LINES = 1_900_000 if thorough() else 190_000  # of the long log: some 100 MB, by day a tenth
HALF = LINES // 2 * 54 - 4  # bytes: a line has 54, and one begins just behind this
BAD = "20260109-000000-relay-bad0"


def leave_film(directory: Path) -> None:
    (directory / "console.raw").write_bytes(
        b"booting\r\n\x1b[31mred\x1b[0m\r\n\x1b[2Jclear\x1b[5;3Hplaced\r\nend"
    )
    (directory / "console.idx").write_text("0 0.500\n9 1.000\n23 2.000\n")
    (directory / "events.jsonl").write_text(
        '{"seconds":0,"event":"StageBegan","stage":"sysa","offset":0}\n'
        '{"seconds":2,"event":"StageBegan","stage":"sysb","offset":23}\n'
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("report")
    runs = tmp_path / "runs"
    runs.mkdir()
    for day in range(1, 7):
        for kernel in ("debian-5.10-i686", "debian-6.1-i686"):
            directory = leave_run(
                runs,
                f"2026010{day}-000000-relay-{kernel[7:11]}{day}",
                kernel=kernel,
                outcome=Outcome.HANG if day == 3 else Outcome.PASS,
                console={"sysa": "hello\nworld\n"},
                sysa=5.0 + day,
                kexec=1.0,
            )
            (directory / "manifest.sha256").write_text(f"{len(kernel) % 2 or 'a'}{'0' * 63}  /bin/sh\n")
    long = leave_run(runs, "20260107-000000-relay-long", outcome=Outcome.PASS)
    raw = b"".join(
        b"line %07d of a log that takes a hundred megabytes\r\n" % number for number in range(LINES)
    )
    (long / "console.raw").write_bytes(raw)
    (long / "console.idx").write_text(f"0 0.000\n{HALF} 12.500\n")
    (long / "events.jsonl").write_text(
        '{"seconds":0,"event":"StageBegan","stage":"sysa","offset":0}\n'
        f'{{"seconds":12.5,"event":"StageBegan","stage":"sysb","offset":{HALF + 10}}}\n'
    )
    leave_film(leave_run(runs, "20260108-000000-relay-film", sysa=1.0, sysb=2.0))
    bad = leave_run(
        runs,
        BAD,
        outcome=Outcome.PANIC,
        sysa=1.0,
        console={"sysa": "".join(f"line {n}\n" for n in range(1, 200))},
    )
    document = msgspec.json.decode((bad / "run.json").read_bytes())
    document["verdict"]["evidence"] = [{"what": "console", "text": "line 150", "offset": 1382}]
    (bad / "run.json").write_bytes(msgspec.json.encode(document))
    target = tmp_path / "report"
    build(runs, target, progress=Quiet())
    shutil.rmtree(runs)  # pages stand for themselves
    return target


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with ExitStack() as stack:
        driver = stack.enter_context(sync_playwright())
        # Tests may run as root, where Chromium has no sandbox; it opens only our own pages.
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        stack.callback(found.close)
        yield found


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    yield from opened(browser)


def opened(browser: Browser, **options: object) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(f"failed: {request.url}"))
    yield page
    context.close()
    assert said == []


def address(report: Path, name: str) -> str:
    return f"file://{report}/{name}"


def first_line(page: Page) -> str:
    return page.locator("#rows .row span").first.inner_text()


def test_from_the_overview_to_the_evidence_by_clicks(report: Path, page: Page) -> None:
    page.goto(address(report, "index.html"))
    assert page.locator("table.matrix a.box").count() == 2
    page.get_by_role("link", name=re.compile("^PANIC")).first.click()
    assert "relay/debian-6.1-i686" in page.locator("h1").inner_text()
    page.locator("ol.bars a").last.click()
    assert BAD in page.url
    page.get_by_role("link", name="line 150").click()
    page.locator(".row.here").wait_for()
    assert page.locator(".row.here span").inner_text() == "line 150"
    page.get_by_role("link", name="Run", exact=True).click()
    assert "PANIC in stage sysa" in page.locator(".reason").inner_text()


def test_a_log_of_100_mb_shows_a_window_and_is_found_in(report: Path, page: Page) -> None:
    page.goto(address(report, "runs/20260107-000000-relay-long/log.html"))
    page.locator("#rows .row").first.wait_for()
    assert first_line(page) == "line 0000000 of a log that takes a hundred megabytes"
    assert page.locator("#rows .row").count() < 100, "only the rows that are seen are made"

    page.locator("#log").focus()
    page.keyboard.press("End")
    page.get_by_text(f"line {LINES - 1:07}").wait_for()
    page.keyboard.press("PageUp")
    page.get_by_text(f"line {LINES - 40:07}").wait_for()
    page.keyboard.press("Home")
    page.get_by_text("line 0000000").wait_for()

    page.select_option("#stage", label="sysb")
    page.locator(".row.here.begins").wait_for()
    assert page.locator(".row.here").get_attribute("data-stage") == "← sysb"
    assert page.locator(".row.here i").inner_text() == "12.500"

    page.keyboard.press("Escape")
    page.locator("body").press("/")
    late = LINES - LINES // 19
    page.keyboard.type(f"line {late:07}")
    page.keyboard.press("Enter")
    page.locator("#found").get_by_text(f"line {late + 1}").wait_for()
    assert page.locator(".row.here mark").inner_text() == f"line {late:07}"
    assert page.url.endswith(f"#L{late + 1}")


def test_the_wheel_moves_a_long_log_by_lines(report: Path, page: Page) -> None:
    page.goto(address(report, f"runs/20260107-000000-relay-long/log.html#L{LINES // 2}"))
    page.locator(".row.here").wait_for()
    before = int(first_line(page)[5:12])
    page.locator("#log").hover()
    page.mouse.wheel(0, 100)
    first = "document.querySelector('#rows .row span').textContent"
    page.wait_for_function(f"!{first}.startsWith('line {before:07}')")
    assert int(first_line(page)[5:12]) - before == 5


@pytest.mark.parametrize(
    ("pattern", "found"), [("line 1[0-4]$", "line 10"), ("not there", "not found"), ("(", "no pattern")]
)
def test_a_log_is_searched_by_patterns(report: Path, page: Page, pattern: str, found: str) -> None:
    page.goto(address(report, f"runs/{BAD}/log.html"))
    page.check("#regexp")
    page.fill("#find", pattern)
    page.press("#find", "Enter")
    page.locator("#found").get_by_text(found).wait_for()
    if found == "line 10":
        page.press("#find", "Enter")
        page.locator("#found").get_by_text("line 11").wait_for()
        page.press("#find", "Shift+Enter")
        page.locator("#found").get_by_text("line 10").wait_for()


def test_a_console_is_played(report: Path, page: Page) -> None:
    page.goto(address(report, "runs/20260108-000000-relay-film/replay.html"))
    page.select_option("#speed", "4")
    page.get_by_role("button", name="Play").click()
    page.locator("#screen").get_by_text("placed").wait_for()
    page.get_by_role("button", name="Play").wait_for()  # it is at its end
    lines = page.locator("#screen").inner_text().split("\n")
    assert lines[2].startswith("clear")  # the cursor stays where it was when a screen is erased
    assert lines[4].startswith("  placed")
    page.select_option("#jump", label="beginning")
    page.wait_for_function("!document.querySelector('#screen').textContent.includes('placed')")
    page.locator("#seek").fill("1")
    page.locator("#screen span", has_text="red").wait_for()
    assert "color" in (page.locator("#screen span", has_text="red").get_attribute("style") or "")
    page.locator("#seek").press("ArrowRight")
    page.locator("#screen").get_by_text("placed").wait_for()


def test_keys_lead_through_the_pages(report: Path, page: Page) -> None:
    page.goto(address(report, "index.html"))
    page.keyboard.press("/")
    page.keyboard.type("panic")
    assert page.locator("table.matrix tbody tr:visible").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    page.wait_for_url("**/runs.html")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{BAD}/index.html")
    page.keyboard.press("l")
    page.wait_for_url("**/log.html")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    page.wait_for_url("**/index.html")


def test_pages_are_read_without_scripts(report: Path, browser: Browser) -> None:
    for page in opened(browser, java_script_enabled=False):
        page.goto(address(report, "index.html"))
        page.get_by_role("link", name=re.compile("^PANIC")).first.click()
        page.locator("ol.bars a").last.click()
        assert "PANIC in stage sysa" in page.locator(".reason").inner_text()
        assert not page.locator(".filter").first.is_visible()
        page.get_by_role("link", name="Console log").click()
        assert page.locator("noscript").count() == 1


PAGES = [
    "index.html",
    "runs.html",
    "produced.html",
    "produced-relay.html",
    f"runs/{BAD}/index.html",
    f"runs/{BAD}/log.html",
    "runs/20260108-000000-relay-film/replay.html",
]


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_for_everybody(report: Path, browser: Browser, scheme: str, name: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    for page in opened(browser, color_scheme=scheme):
        page.goto(address(report, name))
        page.locator("main").wait_for()
        page.wait_for_timeout(200)  # what scripts show is looked at, too
        results = axe.Axe().run(page, options={"preload": False})  # it would fetch style sheets
        assert results.violations_count == 0, results.generate_report()
        assert len(results.response["passes"]) > 5


def test_cell_pages_are_for_everybody(report: Path, browser: Browser, scheme: str) -> None:
    cell = next((report / "cells").iterdir()).relative_to(report).as_posix()
    test_pages_are_for_everybody(report, browser, scheme, cell)


def test_a_page_prints_on_paper(report: Path, page: Page) -> None:
    page.goto(address(report, f"runs/{BAD}/index.html"))
    page.emulate_media(media="print")
    assert not page.locator("header").is_visible()
    assert page.locator(".reason").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
