"""`python -m tests.system.screenshots`: takes the pictures of the pages in `docs/`."""

import re
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import BrowserContext, expect

from infra import ROOT
from infra.local.settings import DEFAULT_OPERATOR_KEY
from tests.system.browser import browsing
from tests.system.stack import API_KEY, RunningStack, running_stack

FOLDER = ROOT / "docs"
BURST = 40
SETTINGS = {
    "UPSTREAM_WINDOW_SECONDS": "20",
    "UPSTREAM_RETRY_SECONDS": "6",
    "STANDIN_OUTAGE_MIN_S": "10",
    "STANDIN_OUTAGE_MAX_S": "40",
    "STANDIN_SLOW_SHARE": "0",
    "STANDIN_HANG_SHARE": "0",
}


def main() -> None:
    """Start a stack, give it something to show, and take the pictures."""
    options = {"viewport": {"width": 1120, "height": 1400}, "color_scheme": "light"}
    with tempfile.TemporaryDirectory() as folder, running_stack(Path(folder), **SETTINGS) as stack:
        urls = burst(stack)
        with browsing([], **options) as context:
            take_console(context, stack)
            take_status(context, urls[-1])


def burst(stack: RunningStack) -> list[str]:
    """Send more than the window holds; return the status URLs of those that wait."""
    urls = []
    for number in range(BURST):
        params = {"message": f"order {number}", "webhook_url": stack.hook_url}
        headers = {"Authorization": API_KEY}
        url = f"{stack.api_url}/crypto/sign"
        body = httpx.get(url, params=params, headers=headers, trust_env=False, timeout=10).json()
        urls += [body["status_url"]] if "status_url" in body else []
    return urls


def take_console(context: BrowserContext, stack: RunningStack) -> None:
    """Take the console, as an operator sees it, with slots in use, a queue, and what has ended."""
    page = context.new_page()
    page.goto(f"{stack.api_url}/console")
    page.get_by_label("Your API key").fill(DEFAULT_OPERATOR_KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#delivered")).to_contain_text(re.compile("^[4-9]"), timeout=120_000)
    expect(page.locator("#calls-chart rect.signed").first).to_be_attached(timeout=180_000)
    page.screenshot(path=FOLDER / "console.png")
    page.close()


def take_status(context: BrowserContext, url: str) -> None:
    """Take a request's page, signed, as a phone shows it."""
    page = context.new_page()
    page.set_viewport_size({"width": 400, "height": 600})
    page.goto(url)
    expect(page.locator("#headline")).to_have_text("Signed.", timeout=300_000)
    page.screenshot(path=FOLDER / "status.png")
    page.close()


if __name__ == "__main__":
    main()
