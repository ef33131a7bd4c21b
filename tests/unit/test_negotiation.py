"""What request headers ask for, as their RFCs say."""

import pytest

from web.negotiation import has_tag, preferences, wants_page

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/html;q=0.9, application/json;q=0.5", True),
        ("TEXT/HTML ; Q=0.9", True),
        (JAVA, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html;q=0.5", False),
        ("application/json, text/html", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=x, */*", False),
        ('application/json;note="text/html,q=1"', False),
        (";;, ;q=1, text/html", True),
    ],
)
def test_accept_has_weights(accept: str, page: bool) -> None:
    """People get a page; a program that takes JSON gets JSON, though its default names HTML."""
    assert wants_page(accept) is page


@pytest.mark.parametrize(
    ("header", "known"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"x", W/"a"', True),
        ('"x,y","a"', True),
        ("*", True),
        ("", False),
        ("a", False),
        ('"x"', False),
        ('"a,b"', False),
    ],
)
def test_if_none_match_is_a_list(header: str, known: bool) -> None:
    """Weak tags compare weakly, and `*` matches whatever there is."""
    assert has_tag(header, '"a"') is known
    assert has_tag(header, 'W/"a"') is known


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {}),
        (["respond-async"], {"respond-async": ""}),
        (["Respond-Async; a=b, wait=1"], {"respond-async": "", "wait": "1"}),
        (['wait="2"', "wait=1"], {"wait": "2"}),
        ([";;, ;wait=1, respond-async"], {"": "", "respond-async": ""}),
        (['foo="a, respond-async; b", bar'], {"foo": "a, respond-async; b", "bar": ""}),
        (['foo="a \\" b"'], {"foo": 'a " b'}),
        (['foo="open, respond-async'], {"foo": "open, respond-async"}),
        ([", ,"], {"": ""}),
    ],
)
def test_preferences_may_be_quoted(lines: list[str], expected: dict[str, str]) -> None:
    """A comma inside quotes separates nothing, and of two values the first counts."""
    assert preferences(lines) == expected
