"""The report in a real browser: what a reader with a mouse, a keyboard, a phone or a printer finds."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from _checkout import ROOT
from synthetic import write_study
from test_report import CLASSES, IGNORED, SYNERGY, compare, measure, models, write_page

import modalens

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PARTS = ("answer", "task-1", "leaderboard", "data", "made")


@pytest.fixture(scope="session")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium on this machine")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser):
    """A page opened, with what it said in the console and what it asked for."""
    contexts = []

    def visit(path, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.said, page.asked = [], []
        page.on("console", lambda message: page.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()


def turn_to(page, part):
    """Open a part and draw all its charts."""
    page.evaluate("part => { location.hash = part }", part)
    page.wait_for_function("part => !document.getElementById(part).hidden", arg=part)
    charts = page.locator(f"#{part} .chart")
    for index in range(charts.count()):
        if charts.nth(index).is_visible():
            charts.nth(index).scroll_into_view_if_needed()
            charts.nth(index).locator(".live svg").wait_for(timeout=20_000)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    tasks = {"ignored": models(IGNORED, audio=0.62), "both": models(SYNERGY)}
    root = compare(measure(write_study(tmp_path_factory.mktemp("page") / "demo", tasks, CLASSES, groups=40)))
    write_page(root)
    return root / "report" / "index.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_part_passes_axe_says_nothing_asks_for_nothing_and_fits(visit, report, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(report, color_scheme=scheme, viewport={"width": width, "height": 844})
    for part in PARTS:
        turn_to(page, part)
        found = axe.run(page)
        assert found.violations_count == 0, (part, found.generate_report())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), part
    assert page.said == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_one_part_is_open_at_a_time_and_a_link_into_a_part_opens_it(visit, report):
    page = visit(report)
    assert page.locator(".panel:visible").count() == 1
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#task-1").wait_for()
    assert page.locator('nav.tabs a[aria-current="page"]').inner_text() == "ignored"
    page.locator("#task-1 nav.index a", has_text="Each class").click()
    page.locator("#task-1-classes").wait_for()
    page.evaluate("location.hash = 'lost'")
    page.locator("#data").wait_for()
    page.go_back()
    page.locator("#task-1").wait_for()


def column(table, index):
    return table.locator(f"tbody tr:visible td:nth-child({index})").all_inner_texts()


def test_a_table_sorts_by_keyboard_as_numbers_and_as_text(visit, report):
    page = visit(report)
    turn_to(page, "leaderboard")
    table = page.locator("#leaderboard table.sortable").nth(1)
    button = table.locator("th button", has_text="accuracy, %")
    button.focus()
    page.keyboard.press("Enter")
    values = [float(text.split()[0]) for text in column(table, 3)]
    assert values == sorted(values, reverse=True)
    page.keyboard.press("Enter")
    assert [float(text.split()[0]) for text in column(table, 3)] == sorted(values)
    assert table.locator('th[aria-sort="ascending"]').count() == 1
    table.locator("th button", has_text="model").click()
    assert column(table, 2) == sorted(column(table, 2))


def test_the_list_of_clips_filters_sorts_and_turns_its_pages(visit, report):
    page = visit(report)
    turn_to(page, "task-1")
    listing = page.locator("#task-1 .listing")
    assert "1 to 20 of 120" in listing.inner_text()
    listing.get_by_role("button", name="later").click()
    assert "21 to 40 of 120" in listing.inner_text()
    listing.get_by_label("filter clips").fill("clip00007")
    assert column(listing, 1) == ["clip00007"]
    listing.get_by_label("filter clips").fill("")
    button = listing.locator("th button", has_text="drop without video")
    button.click()
    drops = [float(text.replace("−", "-")) for text in column(listing, 10)]
    assert len(drops) == 20
    assert drops == sorted(drops, reverse=True)
    assert drops[0] > 0


def test_arrow_keys_read_the_marks_of_a_chart_and_a_list_changes_what_it_shows(visit, report):
    page = visit(report)
    turn_to(page, "task-1")
    chart = page.locator("#task-1 .chart").nth(1)
    chart.locator(".live").focus()
    read = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        read.append(chart.locator(".read").inner_text())
    assert len(set(read)) == 3
    assert read[0].startswith("audio, available: ")
    before = chart.locator(".live svg").inner_html()
    chart.locator("select").last.select_option("log_probability")
    page.wait_for_timeout(300)
    assert chart.locator(".live svg").inner_html() != before


def test_a_mark_under_the_mouse_tells_its_numbers(visit, report):
    page = visit(report)
    turn_to(page, "task-1")
    page.locator("#task-1 .chart").first.locator(".live .mark-symbol.role-mark path").last.hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for()
    assert "drop" in page.locator("#vg-tooltip-element").inner_text()


def test_print_shows_every_part_and_the_still_drawings(visit, report):
    page = visit(report)
    turn_to(page, "task-1")
    page.emulate_media(media="print")
    assert page.locator(".panel:visible").count() == page.locator(".panel").count()
    assert page.locator("#task-1 .chart .live:visible").count() == 0
    assert page.locator("#task-1 .chart .static:visible").count() >= 4
    folded = page.locator("#task-1 details:not([open]) > summary").first
    assert folded.is_visible(), "a heading is not left with nothing below it"
    assert "folded" in folded.evaluate("one => getComputedStyle(one, '::after').content")
    assert page.locator("#task-1").get_by_text("All cells:").is_hidden(), (
        "a file's link is not printed, nor the words before it"
    )
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_javascript_everything_is_there(visit, report):
    page = visit(report, java_script_enabled=False)
    assert page.locator(".panel:visible").count() == page.locator(".panel").count()
    assert page.locator(".chart .static svg").first.is_visible()


def test_hostile_names_do_nothing_in_the_browser_either(visit, tmp_path):
    evil = ['"><img src=x onerror="document.title=1">', "<script>document.title=2</script>", "</script><b>"]
    tasks = {'t"><img src=x onerror="document.title=3">'.replace("/", ""): models(SYNERGY)}
    root = measure(write_study(tmp_path / "s", tasks, evil, groups=12, seeds=2, lost=0, trained=False))
    write_page(root)
    page = visit(root / "report" / "index.html")
    turn_to(page, "task-1")
    page.locator("#task-1 .chart").first.locator(".live .mark-symbol.role-mark path").last.hover(force=True)
    page.wait_for_timeout(200)
    assert page.title() == "A planted study"
    assert page.locator("img[src=x]").count() == 0
    assert page.said == []


@pytest.mark.parametrize("size", ["20,000 clips, 10 classes", "5,000 clips, 1,000 classes"])
def test_a_page_of_many_clips_or_classes_stays_below_5_mb_and_opens(visit, tmp_path, monkeypatch, size):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    sys.modules.pop("page", None)
    import page as benchmark

    monkeypatch.setattr(benchmark, "SEEDS", 2)
    path = tmp_path / "report.html"
    modalens.report(benchmark.predictions(*benchmark.SIZES[size]), path, bootstrap=100)
    assert path.stat().st_size < 5e6
    opened = visit(path)
    turn_to(opened, "task-1")
    assert opened.said == []
