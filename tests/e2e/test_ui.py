"""The Prefect UI in a real browser, as the people who run Ditto every day use it."""

import re
from collections.abc import Iterator

import pytest
from fixtures.browser import SCREENSHOTS, chromium, opened
from fixtures.served import Served, wait_for
from playwright.sync_api import Browser, Locator, Page, expect


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = opened(browser, viewport={"width": 1280, "height": 800})
    yield page
    page.close()


def field(page: Page, section: str, label: str) -> Locator:
    """The input of one setting in a run's form."""
    part = page.locator(f'.schema-form-property:has(> .p-label__header :text-is("{section} (Optional)"))')
    return part.locator(f'.schema-form-property:has(> .p-label__header :text-is("{label} (Optional)")) input').first


def test_a_run_is_started_from_the_form_watched_and_looked_into(served: Served, page: Page) -> None:
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(request.url.split("/")[2]))
    page.goto(f"{served.ui}/deployments/deployment/{served.api.deployment('pipeline')['id']}/run")
    steps = field(page, "Training", "Max Steps")
    expect(steps).to_have_value("60")
    expect(page.get_by_text("Optimizer steps (appendix C). [at least 1]").first).to_be_visible()

    steps.fill("0")
    page.get_by_role("button", name="Submit").click()
    refusal = page.get_by_text("Validation failed for field 'settings.training.max_steps'").first
    expect(refusal).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "refused.png")

    steps.fill("2")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(re.compile(r"/deployments/deployment/[0-9a-f-]+(\?|$)"))
    run = wait_for("the run", lambda: next(iter(_runs(served, "pipeline")), None))
    assert run["parameters"]["settings"]["training"]["max_steps"] == 2

    page.goto(f"{served.ui}/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Running").first).to_be_visible()
    page.goto(f"{served.ui}/deployments")  # without a GPU, drawing the graph of a run takes a core that the run needs
    served.api.end_of(run["id"], 400)
    page.goto(f"{served.ui}/runs/flow-run/{run['id']}")
    expect(page.get_by_text("Completed").first).to_be_visible()
    page.get_by_text("Subflow Runs", exact=True).click()
    page.locator("a[href*='/runs/flow-run/']").get_by_text("simulate", exact=True).click()  # beside it stands a link to the flow
    page.wait_for_url(lambda address: "/runs/flow-run/" in address and run["id"] not in address)
    page.get_by_text("Task Runs", exact=True).click()
    shard = page.get_by_text(re.compile("^dialogues-en-0001")).first
    expect(shard).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "shards.png")
    shard.click()
    page.wait_for_url(re.compile("/runs/task-run/"))
    expect(page.get_by_text(re.compile("^en-0001: .* roles")).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"^en-0001: \d+ in, \d+ ok")).first).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "log.png")

    page.goto(f"{served.ui}/artifacts/key/scores")
    page.locator("a[href*='/artifacts/artifact/']").first.click()
    expect(page.get_by_role("table").get_by_text("consistency").first).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "scores.png")
    for key, alone in (("plots", "img[alt=scores]"), ("loss", "img[src^='data:image/png']")):
        page.goto(f"{served.ui}/artifacts/key/{key}")
        page.locator("a[href*='/artifacts/artifact/']").first.click()
        drawn = page.locator(alone).first
        expect(drawn).to_be_visible()
        assert drawn.evaluate("image => image.naturalWidth") > 100
        page.screenshot(path=SCREENSHOTS / f"{key}.png")
    assert asked == {served.ui.removeprefix("http://")}, "the UI asks nobody but its server"


def _runs(served: Served, flow: str) -> list[dict[str, dict[str, dict[str, int]]]]:
    return served.api("/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})
