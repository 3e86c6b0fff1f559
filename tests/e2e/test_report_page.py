"""The report in a real browser: whole and readable on a desk and on a phone, light and dark, with nothing from outside."""

import pytest
from fixtures.big_report import ROLES, big_report
from fixtures.browser import SCREENSHOTS, chromium, opened
from playwright.sync_api import expect

from ditto_core.evaluation import charts, page
from ditto_core.evaluation.report import render


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("report") / "report.html"
    points = [charts.Point("7B", "seed 1.8B", 0.8, 0.7), charts.Point("72B", "seed 1.8B", 0.9, 0.75)]
    plot = charts.scatter(points, (0, 1), "supervisor with profiles", "tuned seed without", "consistency")
    html = render(big_report())
    (file.parent / "matrix.html").write_text(page.page("Cross-supervision", [f'<div class="plots">{plot * 3}</div>']))
    file.write_text(html)
    return file.as_uri()


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme", "ground"),
    [
        pytest.param("desk", 1280, 900, "light", "rgb(255, 255, 255)", id="desk-light"),
        pytest.param("phone", 390, 844, "dark", "rgb(20, 24, 29)", id="phone-dark"),
    ],
)
def test_a_report_of_a_hundred_roles_opens_whole(
    address: str, name: str, width: int, height: int, scheme: str, ground: str
) -> None:
    with chromium() as browser:
        shown = opened(browser, viewport={"width": width, "height": height}, color_scheme=scheme)
        asked: list[str] = []
        complaints: list[str] = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("console", lambda message: complaints.append(message.text))
        shown.goto(address)
        assert asked == [address]
        assert complaints == []
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == ground
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        roles = shown.locator("details.role")
        assert roles.count() == ROLES
        expect(shown.get_by_text("paired, 100 sessions").first).to_be_visible()
        shown.screenshot(path=SCREENSHOTS / f"report-{name}.png")

        roles.nth(3).locator("> summary").click()
        expect(roles.nth(3).get_by_text("What do you remember of day 0 of year 6?")).to_be_visible()
        roles.nth(3).get_by_text("the judge's words").first.click()
        expect(roles.nth(3).get_by_text("knowledge: I was born").first).to_be_visible()
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        shown.screenshot(path=SCREENSHOTS / f"report-{name}-role.png")

        shown.goto(address.replace("report.html", "matrix.html"))
        expect(shown.locator("svg .diagonal").first).to_be_visible()
        box = shown.locator("svg").first.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width
        shown.screenshot(path=SCREENSHOTS / f"matrix-{name}.png")
