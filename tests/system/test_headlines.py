"""Each headline of the console, produced by its cause on a running stack, seen in a browser, and ended."""

import itertools
import os
import re
import signal
import time
from collections.abc import Iterator

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, expect

from core.headline import RUN_MISSED_MS
from infra.local.settings import DEFAULT_OPERATOR_KEY
from tests.system import caller
from tests.system.browser import WAIT_MS, browsing, require_chromium
from tests.system.conftest import StartStack
from tests.system.gates import age_history
from tests.system.stack import NO_FAULTS, RunningStack
from tests.system.test_ops import Tool

pytestmark = pytest.mark.integration

LIMIT_MS = 180_000
"""A state comes and goes in seconds, or with the schedule's next run; a good key is trusted for a minute."""
SETTINGS = {
    "UPSTREAM_RETRY_SECONDS": "1",
    "UPSTREAM_WINDOW_SECONDS": "4",
    "UPSTREAM_GRACE_SECONDS": "0.5",
    "WEBHOOK_RETRY_SECONDS": "2,2,10,10,10,10,10,10,10",
    **NO_FAULTS,
}
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module", autouse=True)
def chromium() -> str:
    return require_chromium()


@pytest.fixture(scope="module")
def stack(module_stacks: StartStack) -> RunningStack:
    return module_stacks(**SETTINGS)


@pytest.fixture
def page(stack: RunningStack) -> Iterator[Page]:
    """Return the console of an operator."""
    with browsing([], viewport={"width": 1200, "height": 900}) as context:
        yield opened(context, stack)


def opened(context: BrowserContext, stack: RunningStack) -> Page:
    page = context.new_page()
    page.goto(f"{stack.api_url}/console")
    page.get_by_label("Your API key").fill(DEFAULT_OPERATOR_KEY)
    page.keyboard.press("Enter")
    return page


def expect_state(page: Page, state: str, title: str) -> None:
    """Wait for the state; check the page, the tab and what a screen reader gets."""
    expect(page.locator("#headline")).to_have_attribute("data-state", state, timeout=LIMIT_MS)
    expect(page.locator("#title")).to_have_text(re.compile(title))
    expect(page.locator("#announced")).to_contain_text(re.compile(title))
    assert page.locator("#why").inner_text()
    expect(page).to_have_title(re.compile(title))
    icon = page.locator("#icon").get_attribute("href")
    assert icon is not None
    assert icon.startswith("data:image/svg")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def expect_gone(page: Page, state: str) -> None:
    """Wait until another state is shown."""
    expect(page.locator("#headline")).not_to_have_attribute("data-state", state, timeout=LIMIT_MS)


def upstream(stack: RunningStack, **behaviour: object) -> None:
    caller.configure(stack.upstream_url, **behaviour)


def inbox(stack: RunningStack, **behaviour: object) -> None:
    caller.configure(stack.inbox_url, **behaviour)


def sign(stack: RunningStack, message: str, hook: str = "states") -> int:
    """Send a request; return the status of its answer: 200, or 202 if it waits."""
    answer = caller.sign(stack, message, f"{stack.hook_url}/{hook}")
    assert answer.status_code in {httpx.codes.OK, httpx.codes.ACCEPTED}, answer.text
    return answer.status_code


def schedule(stack: RunningStack, what: str) -> None:
    """Disable or enable the rule that starts the processor each minute."""
    events = stack.session.client("events")
    for rule in events.list_rules()["Rules"]:
        getattr(events, what)(Name=rule["Name"])


def test_healthy_then_at_the_limit(stack: RunningStack, page: Page) -> None:
    """More requests than slots: a new one waits, until the others are signed."""
    expect_state(page, "healthy", "Healthy: a new request is tried at once")
    for number in range(60):
        sign(stack, f"at the limit {number}")
    expect_state(page, "at_limit", r"At the limit: a new request waits about \d+ s")
    expect_gone(page, "at_limit")


def test_the_upstream_fails(stack: RunningStack, page: Page) -> None:
    """Every call gets a 502; after twenty the headline says so, and the first signature ends it."""
    upstream(stack, forced_status=502)
    for number in range(6):
        sign(stack, f"fails {number}")
    expect_state(page, "upstream_failing", r"The upstream fails: none of the last \d+ calls was signed")
    expect(page.locator("#why")).to_contain_text("HTTP 502")
    expect(page.locator("#rows")).to_contain_text("last error: HTTP 502")
    upstream(stack, forced_status=None)
    expect_gone(page, "upstream_failing")


def test_the_upstream_limits(stack: RunningStack, page: Page) -> None:
    """A 429 with a long Retry-After stops calls; the test call of the next window ends it."""
    upstream(stack, forced_status=429, forced_retry_after_s=600)
    sign(stack, "limited")
    expect_state(page, "upstream_limits", r"The upstream answered 429: no calls for \d+ min")
    upstream(stack, forced_status=None, forced_retry_after_s=None)
    expect_gone(page, "upstream_limits")


def test_the_key_is_refused(stack: RunningStack, page: Page) -> None:
    """The upstream answers 401 to a call and to the probe; a good answer to the next probe ends it.

    The next probe would come within a minute; the operator's `unblock` makes it at once.
    """
    upstream(stack, forced_status=401)
    sign(stack, "refused key")
    expect_state(page, "key_refused", "The upstream refuses the service's key")
    upstream(stack, forced_status=None)
    Tool(stack)("unblock")
    expect_gone(page, "key_refused")


def test_paused(stack: RunningStack, page: Page) -> None:
    """An operator pauses calls with the tool; the button of the page resumes them."""
    Tool(stack)("pause")
    expect_state(page, "paused", "Calls are paused by ")
    expect(page.locator("#since")).to_contain_text("ago")
    page.get_by_role("button", name="Resume calls").click()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect_gone(page, "paused")


def test_webhooks_fail(stack: RunningStack, page: Page) -> None:
    """A receiver answers 500 twice; when it works again, the next attempt ends it."""
    inbox(stack, name="down", status=500)
    numbers = itertools.count()  # a call that is made at once has no webhook
    while sign(stack, f"webhook {next(numbers)}", hook="down") != httpx.codes.ACCEPTED:
        pass
    expect_state(page, "webhooks_failing", "Webhooks fail: 1 failing")
    inbox(stack, name="down", status=None)
    expect_gone(page, "webhooks_failing")


def test_dead_letters(stack: RunningStack, page: Page) -> None:
    """A message that the processor can't read is received five times, then kept; deleting it ends it."""
    sqs, queue = stack.session.client("sqs"), stack.resources["WorkQueue"]
    usual = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["VisibilityTimeout"])["Attributes"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    try:
        sqs.send_message(QueueUrl=queue, MessageBody="garbage")
        expect_state(page, "dead_letters", "Dead letters: 1")
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes=usual)
    Tool(stack)("dead-letters", "delete", "--yes")
    expect_gone(page, "dead_letters")


def test_no_run(stack: RunningStack, page: Page) -> None:
    """Without its schedule the processor writes no item; the next run ends it. Three minutes are skipped."""
    schedule(stack, "disable_rule")
    end_s = time.monotonic() + LIMIT_MS / 1000
    while page.locator("#headline").get_attribute("data-state") != "no_run":
        assert time.monotonic() < end_s
        age_history(stack, RUN_MISSED_MS)
        page.wait_for_timeout(7_000)  # the console reads the history every few seconds
    expect_state(page, "no_run", r"No run for \d+ (min|h)")
    schedule(stack, "enable_rule")
    expect_gone(page, "no_run")


def test_the_api_does_not_answer(stack: RunningStack, page: Page) -> None:
    """The gateway's process stands still; the figures are dimmed until it answers again."""
    expect(page.locator("#slots li")).to_have_count(10)
    (front,) = (child for child in stack.stack.children if child.name == "front")
    os.kill(front.pid, signal.SIGSTOP)
    try:
        expect_state(page, "no_answer", "The API does not answer")
        expect(page.locator("#stale")).to_contain_text("Not updated since")
        expect(page.locator("#console")).to_have_class("old")
    finally:
        os.kill(front.pid, signal.SIGCONT)
    expect_gone(page, "no_answer")
