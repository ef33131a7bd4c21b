"""Status tokens: each opens one request, until it expires."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.token import make_token, opens

KEY, ID, OTHER = "token-key", "01a209d9-5b1c-7c3e-9d52-0f2b8f0b6a11", "01a209d9-5b1c-7c3e-9d52-0f2b8f0b6a12"
TOKEN = make_token(KEY, ID, 1_000)


def test_it_opens_its_request_until_it_expires() -> None:
    """The last second before the expiry is good, the expiry itself is not."""
    assert opens(TOKEN, [KEY], ID, 999)
    assert not opens(TOKEN, [KEY], ID, 1_000)


def test_nothing_else_is_opened() -> None:
    """Another request, another key, another expiry: refused."""
    assert not opens(TOKEN, [KEY], OTHER, 0)
    assert not opens(TOKEN, ["another key"], ID, 0)
    assert not opens(TOKEN.replace("1000.", "9999."), [KEY], ID, 0)


def test_a_pinned_vector() -> None:
    """A change of the format would lock out the holders of tokens that are out there."""
    assert TOKEN == "1000.sKv3ucpsREA4rkWnP_XyFOhURyM4-75HdGfNtfQ-RP0"


@given(st.text(max_size=80))
def test_garbage_is_refused(text: str) -> None:
    """Whatever is sent, the answer is no, not an error."""
    assert not opens(text, [KEY], ID, 0)


@pytest.mark.parametrize("position", range(len(TOKEN)))
def test_every_character_counts(position: int) -> None:
    """A token with one character changed opens nothing."""
    changed = "A" if TOKEN[position] != "A" else "B"
    assert not opens(TOKEN[:position] + changed + TOKEN[position + 1 :], [KEY], ID, 0)


def test_a_token_of_either_key_is_valid_during_a_rotation() -> None:
    """The newest key signs; links that were given out before still open until the old one is retired."""
    assert opens(TOKEN, ["newer", KEY], ID, 999)
    assert not opens(TOKEN, ["newer"], ID, 999)
