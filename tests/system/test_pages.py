"""The pages as people meet them: in a real browser, on the embedded stack."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from infra.local.settings import DEFAULT_OPERATOR_KEY
from tests.system import caller
from tests.system.browser import WAIT_MS, browsing, require_chromium
from tests.system.conftest import StartStack
from tests.system.gates import fill_window
from tests.system.stack import API_KEY, NO_FAULTS, RunningStack

pytestmark = pytest.mark.integration

SETTINGS = {
    "UPSTREAM_WINDOW_SECONDS": "10",
    "UPSTREAM_RETRY_SECONDS": "2",
    "UPSTREAM_GRACE_SECONDS": "0.5",
    "WEBHOOK_RETRY_SECONDS": "0.5",
    **NO_FAULTS,
}
AUTH = {"Authorization": API_KEY}
NOTHINGS_ID = "00000000-0000-7000-8000-000000000000"
LETTER = json.dumps({"v": 1, "job_id": "0" * 64, "request_id": NOTHINGS_ID, "attempt": 0})
expect.set_options(timeout=WAIT_MS)
# What is drawn and can be read, with the least contrast that WCAG AA asks of it.
CONTRASTS = """() => {
  const parse = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
  const channel = (value) => value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), low = [];
  for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const node = text.parentElement, style = getComputedStyle(node);
    if (!text.data.trim() || !node.checkVisibility() || node.matches("script, noscript")) continue;
    const [light, dark] = [luminance(parse(style.color)), luminance(ground(node))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(1)} ${text.data.trim()}`);
  }
  return low;
}"""


@pytest.fixture(scope="module", autouse=True)
def chromium() -> str:
    return require_chromium()


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    """Return a browser's context; in the end nothing tried to leave the machine, and nothing went wrong."""
    strays: list[str] = []
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and "status of" not in message.text:
            errors.append(message.text)

    with browsing(strays, viewport={"width": 1200, "height": 900}) as browser_context:
        browser_context.on("console", note)
        browser_context.on("weberror", lambda error: errors.append(str(error.error)))
        yield browser_context
    assert strays == []
    assert errors == []


def sign(stack: RunningStack, message: str, hook: str = "", **headers: str) -> httpx.Response:
    return caller.sign(stack, message, f"{stack.hook_url}/{hook}" if hook else "", **headers)


def fill(stack: RunningStack, name: str) -> None:
    """Use up the window: send until the limit is what refuses."""
    for number in range(40):
        if sign(stack, f"{name} {number}").status_code == httpx.codes.TOO_MANY_REQUESTS:
            return
    raise AssertionError("the window does not fill")


def open_console(page: Page, stack: RunningStack, key: str = API_KEY) -> None:
    page.goto(f"{stack.api_url}/console")
    page.get_by_label("Your API key").fill(key)
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#slots li")).to_have_count(10)


def check_contrast(page: Page) -> None:
    """WCAG AA, in the light and in the dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRASTS) == []


def check_with_axe(page: Page) -> None:
    """No violation of WCAG, in the light and in the dark."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


@pytest.fixture(scope="module")
def pages_stack(module_stacks: StartStack) -> RunningStack:
    return module_stacks(**SETTINGS)


def test_a_waiting_request_turns_into_a_signature(pages_stack: RunningStack, context: BrowserContext) -> None:
    """The status page waits by itself, shows the signature and copies it; on a phone, without the key."""
    fill(pages_stack, "before the page")
    accepted = sign(pages_stack, "for people", Prefer="respond-async")
    assert accepted.status_code == 202
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(accepted.json()["status_url"])
    expect(page.locator("#headline")).to_have_text("Waiting for the first call to the upstream.")
    assert page.locator("#headline").get_attribute("role") == "status"
    check_contrast(page)
    check_with_axe(page)
    expect(page.locator("#headline")).to_have_text("Signed.")
    signature = page.locator("#signature").inner_text()
    assert len(signature) > 100
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == signature
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    check_contrast(page)


def test_a_cancelled_request(pages_stack: RunningStack, context: BrowserContext) -> None:
    """The page says that it ended, and why."""
    fill_window(pages_stack, 20_000)  # longer than the upstream's own window: no call is made meanwhile
    accepted = sign(pages_stack, "cancelled", Prefer="respond-async").json()
    url = f"{pages_stack.api_url}/crypto/requests/{accepted['request_id']}"
    httpx.delete(url, headers=AUTH, trust_env=False, timeout=10).raise_for_status()
    page = context.new_page()
    page.goto(accepted["status_url"])
    expect(page.locator("#headline")).to_have_text("Cancelled.")
    expect(page.locator("#detail")).to_have_text("The caller cancelled the request before it was signed.")


def test_a_link_that_does_not_open(pages_stack: RunningStack, context: BrowserContext) -> None:
    """A broken token is told in words."""
    accepted = sign(pages_stack, "broken link", Prefer="respond-async").json()
    url = accepted.get("status_url") or f"{pages_stack.api_url}/crypto/requests/{accepted['request_id']}"
    page = context.new_page()
    page.goto(url.partition("?")[0] + "?token=1.broken")
    expect(page.locator("#headline")).to_have_text("This link does not open the request.")


def test_the_console_shows_ten_slots_fill(pages_stack: RunningStack, context: BrowserContext) -> None:
    """Each call takes a slot before one's eyes, who waits is listed and signed, and the slots free again."""
    page = context.new_page()
    open_console(page, pages_stack)
    free = page.locator("#slots li.free")
    expect(free).to_have_count(10)
    fill(pages_stack, "slots")
    expect(free).to_have_count(0)
    expect(page.locator("#used")).to_contain_text("10 of 10 slots in use")
    check_contrast(page)
    accepted = sign(pages_stack, "one that waits", hook="slots").json()
    row = page.locator(f'tr[data-id="{accepted["request_id"]}"]')
    expect(row).to_contain_text("waiting")
    expect(row).to_contain_text("signed")
    expect(row).to_contain_text("delivered")
    expect(free).to_have_count(10)
    assert API_KEY not in page.url
    page.close()


def test_what_has_finished_is_there_on_a_page_opened_afterwards(
    pages_stack: RunningStack, context: BrowserContext
) -> None:
    """Requests and figures come from the service, not from what a page happened to see."""
    fill(pages_stack, "seen later")
    request_id = sign(pages_stack, "finished unseen", hook="later").json()["request_id"]
    url = f"{pages_stack.api_url}/crypto/requests/{request_id}"
    caller.until(lambda: caller.get(url).json()["delivery"]["state"] == "delivered")
    page = context.new_page()
    open_console(page, pages_stack)
    row = page.locator(f'tr[data-id="{request_id}"]')
    expect(row).to_contain_text("delivered")
    expect(row).to_contain_text("signed after")
    expect(row).to_contain_text("1 call")
    for figure in ("signed", "took", "off", "delivered"):
        expect(page.locator(f"#{figure}")).to_contain_text(re.compile(r"^[1-9]|^0\.\d"))
    check_contrast(page)
    page.get_by_label("Show").select_option("unfinished")
    expect(row).to_have_count(0)


def test_replay_by_keyboard_alone(pages_stack: RunningStack, context: BrowserContext) -> None:
    """Key, search, replay and its confirmation need no mouse; the webhook arrives this time."""
    caller.configure(pages_stack.inbox_url, name="broken", status=500)
    fill(pages_stack, "keyboard")
    request_id = sign(pages_stack, "lost webhook", hook="broken").json()["request_id"]
    told_id = sign(pages_stack, "told webhook", hook="told").json()["request_id"]
    page = context.new_page()
    page.goto(f"{pages_stack.api_url}/console")
    page.keyboard.type(API_KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#slots li")).to_have_count(10)
    row = page.locator(f'tr[data-id="{request_id}"]')
    expect(row).to_contain_text("undeliverable", timeout=2 * WAIT_MS)
    expect(page.locator(f'tr[data-id="{told_id}"]')).to_contain_text("delivered")
    page.reload()
    page.get_by_label("Show").select_option("undeliverable")
    expect(page.locator("#rows tr")).to_have_count(1)
    expect(row).to_contain_text("undeliverable")
    page.get_by_label("Find by id").focus()
    caller.configure(pages_stack.inbox_url, name="broken", status=None)
    page.keyboard.type(request_id)
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("Found: signed.")
    expect(page.locator("#rows tr")).to_have_count(1)
    tab_to(page, f"Deliver the webhook of {request_id} again")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("twice")
    check_contrast(page)
    page.keyboard.press("Escape")
    expect(row).to_contain_text("undeliverable")
    tab_to(page, f"Deliver the webhook of {request_id} again")
    page.keyboard.press("Enter")
    tab_to(page, "Deliver again")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("is on its way")
    expect(row).to_contain_text("delivered")
    webhooks = caller.get(f"{pages_stack.inbox_url}/_received").json()["received"]
    ours = [row for row in webhooks if row["webhook_id"] == request_id]
    assert [row["status"] for row in ours] == [204, 500, 500]


def test_an_operator_sees_dead_letters(pages_stack: RunningStack, context: BrowserContext) -> None:
    """How many there are, by queue; a caller sees nothing of them."""
    sqs, dead = pages_stack.session.client("sqs"), pages_stack.resources["NotificationDeadLetterQueue"]
    sqs.send_message(QueueUrl=dead, MessageBody="garbage")
    page = context.new_page()
    page.goto(f"{pages_stack.api_url}/console")
    page.keyboard.type(DEFAULT_OPERATOR_KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#letters")).to_contain_text("wake-ups: 0, webhooks: 1")
    check_contrast(page)
    page = context.new_page()
    open_console(page, pages_stack)
    expect(page.locator("#caption")).to_contain_text("shown")
    expect(page.locator("#letters")).to_be_hidden()


def test_the_documentation_tries_it(pages_stack: RunningStack, context: BrowserContext) -> None:
    """An operation is asked from its form, with the key that is typed above; the answer stands below."""
    page = context.new_page()
    page.goto(f"{pages_stack.api_url}/docs")
    page.get_by_label("Key to try with").fill(API_KEY)
    section = page.locator("section#listRequests")
    section.get_by_text("Try it").click()
    section.get_by_label("limit").fill("1")
    section.get_by_role("button", name="Send").click()
    expect(section.locator("[role=status]")).to_contain_text("200")
    expect(section.locator("[role=status]")).to_contain_text('"requests"')
    check_contrast(page)


def tab_to(page: Page, name: str) -> None:
    """Press Tab until a control of this name has the focus."""
    script = "document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
    for _ in range(40):
        if page.evaluate(script) == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name!r}")


def test_a_wrong_key_and_a_forgotten_one(pages_stack: RunningStack, context: BrowserContext) -> None:
    """The key lives in its tab alone, and goes when it is told to."""
    page = context.new_page()
    page.goto(f"{pages_stack.api_url}/console")
    page.get_by_label("Your API key").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_have_text("This key is not known.")
    open_console(page, pages_stack)
    page.reload()
    expect(page.locator("#slots li")).to_have_count(10)
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_label("Your API key")).to_be_focused()
    assert page.evaluate("Object.keys(sessionStorage).length + Object.keys(localStorage).length") == 0


def test_the_documentation_is_read_without_a_script(
    pages_stack: RunningStack, context: BrowserContext
) -> None:
    """It shows every operation with three samples, links each of them, fits a phone, and passes axe."""
    page = context.new_page()
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(f"{pages_stack.api_url}/docs")
    expect(page.get_by_role("heading", name="GET /crypto/sign")).to_be_visible()
    operations = page.locator("section:has(> details form)")
    links = page.locator("nav li a").evaluate_all("links => links.map(link => link.hash.slice(1))")
    assert operations.evaluate_all("sections => sections.map(section => section.id)") == links
    for language in ("curl", "Python", "JavaScript"):
        assert operations.get_by_text(language, exact=True).count() == len(links)
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    check_contrast(page)
    check_with_axe(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
