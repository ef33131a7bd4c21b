"""The console in a real browser: old figures, rows that stay in place, phones, and axe."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Route, expect

from core.history import Minute
from infra.local.settings import DEFAULT_OPERATOR_KEY
from tests.system.browser import WAIT_MS, browsing, require_chromium
from tests.system.caller import accept, configure
from tests.system.conftest import StartStack
from tests.system.gates import fill_window, now_ms, set_gate, write_history
from tests.system.stack import API_KEY, NO_FAULTS, RunningStack

pytestmark = pytest.mark.integration

SETTINGS = {
    "UPSTREAM_RETRY_SECONDS": "300",
    "WEBHOOK_RETRY_SECONDS": "0.5",
    **NO_FAULTS,
}
expect.set_options(timeout=WAIT_MS)


def paused(stack: RunningStack) -> None:
    set_gate(stack, paused=True, paused_by="olga", paused_at_ms=now_ms() - 90_000)


@pytest.fixture(scope="module", autouse=True)
def chromium() -> str:
    return require_chromium()


@pytest.fixture(scope="module")
def console_stack(module_stacks: StartStack) -> RunningStack:
    return module_stacks(**SETTINGS)


@pytest.fixture
def stack(console_stack: RunningStack) -> Iterator[RunningStack]:
    """Return the stack, healthy; afterwards it is so again."""
    write_history(console_stack, [])
    yield console_stack
    write_history(console_stack, [])
    set_gate(console_stack, paused=False, paused_by="")
    fill_window(console_stack, 0)


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    errors: list[str] = []
    with browsing([], viewport={"width": 1200, "height": 900}) as browser_context:
        browser_context.on("weberror", lambda error: errors.append(str(error.error)))
        yield browser_context
    assert errors == []


def opened(context: BrowserContext, stack: RunningStack, query: str = "", key: str = "") -> Page:
    page = context.new_page()
    page.goto(f"{stack.api_url}/console{query}")
    page.get_by_label("Your API key").fill(key or DEFAULT_OPERATOR_KEY)
    page.keyboard.press("Enter")
    return page


def check_with_axe(page: Page) -> None:
    """No violation of WCAG, in the light and in the dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_an_operator_resumes_from_the_page(stack: RunningStack, context: BrowserContext) -> None:
    """By one button, after a question; a caller has none."""
    paused(stack)
    page = opened(context, stack, key=API_KEY)
    expect(page.locator("#headline")).to_have_attribute("data-state", "paused")
    expect(page.get_by_role("button", name="Resume calls")).to_be_hidden()
    page = opened(context, stack)
    expect(page.locator("#since")).to_contain_text("ago")
    page.get_by_role("button", name="Resume calls").click()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.locator("#headline")).to_have_attribute("data-state", "healthy")


def test_webhooks_that_fail_and_are_sent_again_together(stack: RunningStack, context: BrowserContext) -> None:
    """The headline says so; all of one receiver are delivered again by one button, with their number."""
    configure(stack.inbox_url, name="broken", status=500)
    fill_window(stack, 15_000)  # a busy machine needs long to send two requests
    for number in range(2):
        accept(stack, f"broken {number}", f"{stack.hook_url}/broken")
    page = opened(context, stack, "?which=undeliverable")
    expect(page.locator("#headline")).to_have_attribute("data-state", "webhooks_failing", timeout=2 * WAIT_MS)
    expect(page.locator("#rows tr")).to_have_count(2, timeout=2 * WAIT_MS)
    expect(page.locator("#rows")).to_contain_text("HTTP 500")
    check_with_axe(page)
    configure(stack.inbox_url, name="broken", status=None)
    page.get_by_label("Receiver").select_option(stack.inbox_url.removeprefix("http://"))
    assert "which=undeliverable" in page.url
    assert "receiver=" in page.url
    page.get_by_role("button", name="Deliver all 2 again").click()
    page.get_by_role("button", name="Deliver 2 again").click()
    expect(page.locator("#said")).to_have_text("2 of 2 webhooks are on their way.")
    expect(page.locator("#empty")).to_be_visible()
    page.get_by_label("Show").select_option("all")
    expect(page.locator("#rows .is-delivered")).to_have_count(2)


def test_what_is_old_is_seen(stack: RunningStack, context: BrowserContext) -> None:
    """A console without its API does not look live: it says since when, dims its figures, announces it."""
    page = opened(context, stack)
    expect(page.locator("#headline")).to_have_attribute("data-state", "healthy")
    context.set_offline(True)
    expect(page.locator("#title")).to_have_text("The API does not answer")
    stale = page.locator("#stale")
    expect(stale).to_have_text(re.compile("Not updated since"))
    assert stale.get_attribute("role") == "status"
    expect(page.locator("#console")).to_have_class("old")
    assert page.title().startswith("The API does not answer")
    check_with_axe(page)
    context.set_offline(False)
    expect(page.locator("#headline")).to_have_attribute("data-state", "healthy")
    expect(stale).to_have_text("")


def test_a_first_load_that_fails_says_so(stack: RunningStack, context: BrowserContext) -> None:
    """Nothing is shown as if it were there."""
    page = context.new_page()
    page.route("**/console/state", lambda route: route.fulfill(status=503, json={"detail": "down"}))
    page.goto(f"{stack.api_url}/console")
    page.get_by_label("Your API key").fill(API_KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#stale")).to_have_text("Nothing has been loaded yet.")
    expect(page.locator("#console")).to_be_hidden()


def test_a_selection_and_the_focus_survive_ten_updates(stack: RunningStack, context: BrowserContext) -> None:
    """Rows are updated in place while others come, go, and change their order."""
    fill_window(stack, 600_000)
    ids = [accept(stack, f"keyed {number}", stack.hook_url) for number in range(4)]
    page = context.new_page()
    answers = 0

    def shuffled(route: Route) -> None:
        nonlocal answers
        answer = route.fetch()
        body = answer.json()
        answers += 1
        if answers % 2:
            body["requests"].reverse()
        if answers % 3 == 0:
            body["requests"] = [row for row in body["requests"] if row["request_id"] != ids[0]]
        route.fulfill(response=answer, json=body)

    page.route("**/console/state", shuffled)
    page.goto(f"{stack.api_url}/console")
    page.get_by_label("Your API key").fill(API_KEY)
    page.keyboard.press("Enter")
    row = page.locator(f'tr[data-id="{ids[2]}"]')
    expect(row).to_contain_text("waiting")
    row.get_by_role("link").focus()
    row.locator("code").evaluate("node => getSelection().selectAllChildren(node)")
    node = row.element_handle()
    seen = answers
    page.wait_for_function("() => true")
    while answers < seen + 10:
        page.wait_for_timeout(200)
    assert page.evaluate("getSelection().toString()") == ids[2]
    assert page.evaluate("document.activeElement.textContent") == ids[2]
    assert node.evaluate("node => node.isConnected")
    shown = page.locator("#rows tr").evaluate_all("rows => rows.map(row => row.dataset.id)")
    assert len(shown) == len(set(shown)), "a row stands twice"
    assert set(ids[1:]) <= set(shown)


def test_a_row_leads_to_its_request(stack: RunningStack, context: BrowserContext) -> None:
    """By its id, which a button copies; the page opens with the tab's key."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    fill_window(stack, 600_000)
    request_id = accept(stack, "followed", stack.hook_url)
    page = opened(context, stack)
    row = page.locator(f'tr[data-id="{request_id}"]')
    expect(row).to_contain_text("after the outcome")
    row.get_by_role("button", name=f"Copy the id {request_id}").click()
    expect(page.locator("#said")).to_have_text(f"Copied {request_id}.")
    assert page.evaluate("navigator.clipboard.readText()") == request_id
    expect(row.get_by_role("button", name="Deliver")).to_have_count(0)
    row.get_by_role("link").click()
    expect(page.locator("#headline")).to_have_text("Waiting for the first call to the upstream.")
    expect(page.locator("#facts")).to_contain_text("after the outcome")


def test_on_a_phone(stack: RunningStack, context: BrowserContext) -> None:
    """Cards instead of a table that scrolls sideways, and nothing is wider than the screen."""
    fill_window(stack, 600_000)
    accept(stack, "on a phone", stack.hook_url)
    page = opened(context, stack)
    page.set_viewport_size({"width": 360, "height": 740})
    expect(page.locator("#rows tr")).not_to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    check_with_axe(page)


def test_the_charts(stack: RunningStack, context: BrowserContext) -> None:
    """An hour or a day as pictures, and the same as a table; for operators."""
    start_ms = now_ms() - 600_000
    write_history(
        stack,
        [
            Minute(
                start_ms + 60_000 * number,
                signed=6 * number,
                failed=2 * number,
                calls=10,
                window_ms=60_000,
                waiting=number,
                oldest_ms=start_ms,
            )
            for number in range(10)
        ],
    )
    page = opened(context, stack)
    expect(page.locator("#calls-chart rect.signed")).to_have_count(9)
    page.get_by_text("The same as a table").click()
    expect(page.locator("#points tr")).to_have_count(9)
    expect(page.locator("#points tr").first).to_contain_text("10")
    page.get_by_label("Over", exact=True).select_option("24")
    expect(page.locator("#calls-chart figcaption")).to_contain_text("limit, 10")
    assert "hours=24" in page.url
    check_with_axe(page)
    page = opened(context, stack, key=API_KEY)
    expect(page.locator("#caption")).to_contain_text("shown")
    expect(page.locator("#history")).to_be_hidden()
