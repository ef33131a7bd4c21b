"""Every parser of outside input answers with a value or with its own error, whatever it is given."""

import json
from base64 import b64encode
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.inputs import MESSAGE_BYTES_MAX, check_message, check_webhook_url
from core.answers import (
    Meaning,
    interpret,
    interpret_probe,
    read_signature,
)
from core.config import CallSettings, Reader, read_policy
from core.egress import Policy
from core.errors import InvalidMessage, SettingError
from core.messages import (
    JOB_ID,
    NotificationMessage,
    WakeUp,
    decode_notification,
    decode_wake_up,
)
from core.retry_after import parse_retry_after
from core.window import BLOCK_MS_MAX
from web.access import client_of
from web.problems import InvalidParameter
from web.strict import parse_query

NOW_MS = 1_800_000_000_000
whatever_the_load = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KNOWN = frozenset({"message", "webhook_url"})
POLICY = Policy(ports=frozenset({443}))
JOB_IDS = st.text("0123456789abcdef", min_size=64, max_size=64)
REQUEST_IDS = st.uuids().map(str)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "v": st.just(1) | JSON,
        "job_id": JOB_IDS | JSON,
        "request_id": REQUEST_IDS | JSON,
        "attempt": st.integers() | JSON,
    },
)


@whatever_the_load
@given(JOB_IDS)
def test_a_fresh_message_comes_back_as_it_was_sent(job_id: str) -> None:
    """What one version writes it reads."""
    assert decode_wake_up(WakeUp(job_id, 7).encode()) == WakeUp(job_id, 7)


@whatever_the_load
@given(JOB_IDS, REQUEST_IDS, st.integers(min_value=0, max_value=10_000))
def test_a_notification_comes_back_as_it_was_sent(job_id: str, request_id: str, attempt: int) -> None:
    """What one version writes it reads."""
    message = NotificationMessage(job_id, request_id, attempt)
    assert decode_notification(message.encode()) == message


@whatever_the_load
@given(st.text() | JSON.map(json.dumps) | FIELDS.map(json.dumps))
def test_a_queue_message_is_understood_or_invalid(text: str) -> None:
    """Garbage never stops a run: there is one error for all of it, and what is read can be a key."""
    for decode in (decode_wake_up, decode_notification):
        try:
            message = decode(text)
        except InvalidMessage:
            continue
        assert message.job_id == "" or JOB_ID.fullmatch(message.job_id)
        assert decode(message.encode()) == message


@pytest.mark.parametrize("text", ["[" * 100_000, '{"v":1' + " " * 100_000, "\ud800", '{"v":true}'])
def test_hostile_queue_messages_are_invalid(text: str) -> None:
    """Neither depth nor length nor broken text gets further than the parser."""
    with pytest.raises(InvalidMessage):
        decode_wake_up(text)


NAMES = (
    "UPSTREAM_URL",
    "UPSTREAM_LIMIT",
    "UPSTREAM_WINDOW_SECONDS",
    "UPSTREAM_TIMEOUT_SECONDS",
    "UPSTREAM_MAX_ATTEMPTS",
    "UPSTREAM_MAX_AGE_SECONDS",
    "SIGNATURE_TTL_SECONDS",
    "CLIENT_BACKLOG_PERCENT",
    "CLOCK_MARGIN_SECONDS",
)
VALUES = st.text(max_size=30) | st.integers().map(str) | st.floats().map(str)


@whatever_the_load
@given(st.dictionaries(st.sampled_from(NAMES), VALUES))
def test_settings_are_in_range_or_refused_by_name(values: dict[str, str]) -> None:
    """A setting that can't be used names its variable and never repeats its value."""
    environment = {"UPSTREAM_URL": "https://upstream.example", **values}
    try:
        calls = CallSettings.read(Reader(environment))
    except SettingError as error:
        assert str(error).split()[0] in NAMES  # noqa: PT017 - either outcome is fine, each has its rule
        return
    assert 1 <= calls.limits.calls <= 100
    assert 1_000 <= calls.limits.window_ms <= 86_400_000
    assert 100 <= calls.call_limit_ms <= 60_000
    assert calls.attempts_max >= 1
    assert calls.signature_ttl_ms >= 0


@whatever_the_load
@given(st.text(max_size=60) | st.lists(st.floats() | st.integers()).map(lambda xs: ",".join(map(str, xs))))
def test_a_list_of_delays_is_usable_or_refused(text: str) -> None:
    """Each delay is a time from now on, and there are between one and twenty."""
    try:
        delays_ms = Reader({"D": text}).milliseconds_list("D", "5,300", 1_000)
    except SettingError:
        return
    assert 1 <= len(delays_ms) <= 20
    assert all(0 <= delay_ms <= 1_000_000 for delay_ms in delays_ms)


@whatever_the_load
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=10))
def test_a_webhook_policy_is_usable_or_refused(ports: str, hosts: str, private: str) -> None:
    """Ports, hosts and the flag: a value, or the error that names the setting."""
    values = {"WEBHOOK_PORTS": ports, "WEBHOOK_ALLOW_HOSTS": hosts, "WEBHOOK_ALLOW_PRIVATE": private}
    try:
        policy = read_policy(Reader(values))
    except SettingError:
        return
    assert policy.ports
    assert all(0 < port < 65_536 for port in policy.ports)


@whatever_the_load
@given(st.integers(min_value=100, max_value=999), st.binary(max_size=300))
def test_every_upstream_answer_has_a_meaning(status: int, body: bytes) -> None:
    """Anything else than a signature is no signature, whatever its status."""
    meaning = interpret(status, body)
    assert (meaning is Meaning.SIGNED) == (status == 200 and bool(read_signature(body)))
    assert (interpret_probe(status) is Meaning.WELCOME) == (status == 200)


@whatever_the_load
@given(st.binary(min_size=32, max_size=512))
def test_a_signature_is_read_as_it_was_sent(raw: bytes) -> None:
    """Bare base64, white space around it at most."""
    text = b64encode(raw)
    assert read_signature(b" " + text + b"\r\n") == text.decode()


@whatever_the_load
@given(st.binary(max_size=200))
def test_what_is_read_as_a_signature_is_base64_text(body: bytes) -> None:
    """Never markup, never control characters: it goes into JSON and to receivers."""
    signature = read_signature(body)
    assert signature == "" or signature.replace("+", "").replace("/", "").rstrip("=").isalnum()


@whatever_the_load
@given(st.text() | st.integers().map(str) | st.none())
def test_a_wait_that_the_upstream_asks_for_is_bounded(value: str | None) -> None:
    """At most a day, never negative; nonsense is no wait at all."""
    wait_ms = parse_retry_after(value, NOW_MS, BLOCK_MS_MAX)
    assert wait_ms is None or 0 <= wait_ms <= BLOCK_MS_MAX


@whatever_the_load
@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: quote(text, errors="replace").encode())
)
def test_a_query_is_understood_or_refused(query: bytes) -> None:
    """No query is a server's error, and no unusable message gets through."""
    for given_query in (query, b"message=" + query, b"message=a&webhook_url=" + query):
        try:
            values = parse_query(given_query, KNOWN)
            message = check_message(values.get("message", ""))
            check_webhook_url(values.get("webhook_url", ""), POLICY)
        except (InvalidParameter, ValueError):
            continue
        assert 0 < len(message.encode()) <= MESSAGE_BYTES_MAX
        assert "\0" not in message


@whatever_the_load
@given(st.text(min_size=1, max_size=500).filter(lambda text: "\0" not in text and "\ufffd" not in text))
def test_a_message_is_signed_exactly_as_it_was_sent(message: str) -> None:
    """Every Unicode text survives the query: what is signed is what the caller meant."""
    try:
        query = urlencode({"message": message}).encode()
    except UnicodeEncodeError:  # a lone surrogate can't be sent
        return
    assert check_message(parse_query(query, KNOWN)["message"]) == message


@whatever_the_load
@given(st.text() | st.none(), st.text(min_size=1))
def test_only_a_whole_key_is_somebody(authorization: str | None, key: str) -> None:
    """A header is a caller's key, bare or after `Bearer`, or it is nobody's."""
    client = client_of(authorization, {"alice": key})
    whole = (authorization or "").strip()
    bare = whole[7:].strip() if whole[:7].lower() == "bearer " else whole
    assert (client == "alice") == (bare == key)
