"""The notification's bytes and signature, and what the receiver's answer means."""

import base64
import json
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
import standardwebhooks
import svix
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from adapters import ed25519
from core.errors import SettingError
from core.retry_after import parse_retry_after
from core.webhook import (
    EXCERPT_LENGTH_MAX,
    Outcome,
    OutcomeKind,
    PostResult,
    classify_answer,
    excerpt,
    failure_body,
    next_attempt_ms,
    parse_secret,
    public_key_set,
    sign,
    signature_body,
)
from notifier.settings import DELAYS_S

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032, test 1
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
PRIVATE_KEY = "whsk_" + base64.b64encode(SEED + PUBLIC).decode()
V1A_SIGNATURE = "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw=="
WEBHOOK_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
BODY = b'{"test": 2432232314}'
NOW_S = 1_614_265_330
NOW_MS = NOW_S * 1000
DELAYS_MS = (5_000, 300_000, 1_800_000)


def fresh_headers(body: bytes, *secrets: str, at_s: int | None = None) -> dict[str, str]:
    now_s = int(datetime.now(tz=UTC).timestamp()) if at_s is None else at_s
    return sign(body, WEBHOOK_ID, now_s, secrets)


def answer(status: int | None, retry_after: str | None = None) -> PostResult:
    return PostResult(status, f"http_{status}" if status else "timeout", retry_after, "")


def test_the_body_of_a_signature_is_exact() -> None:
    """The bytes are part of the contract: they are what is signed."""
    assert signature_body("id-1", "c2ln+/=") == b'{"request_id":"id-1","status":200,"signature":"c2ln+/="}'


def test_the_body_of_a_failure_is_exact() -> None:
    """A failure says why, and `detail` is there only if there is one."""
    assert failure_body("id-1", 504, "tried for a day") == (
        b'{"request_id":"id-1","status":504,"message":"tried for a day"}'
    )
    assert failure_body("id-1", 502, "refused", "upstream: 400 ✗") == (
        '{"request_id":"id-1","status":502,"message":"refused","detail":"upstream: 400 ✗"}'.encode()
    )


def test_v1_matches_a_fixed_vector() -> None:
    """The symmetric signature is the one that the reference libraries' own tests expect."""
    assert sign(BODY, WEBHOOK_ID, NOW_S, [SECRET]) == {
        "content-type": "application/json",
        "webhook-id": WEBHOOK_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_v1a_matches_a_fixed_vector() -> None:
    """The asymmetric signature over `id.timestamp.body` never changes (ed25519 is deterministic)."""
    signed = sign(BODY, WEBHOOK_ID, NOW_S, [], [ed25519.signer(PRIVATE_KEY)])
    assert signed["webhook-signature"] == V1A_SIGNATURE


def test_v1a_verifies_with_the_public_key() -> None:
    """Whoever has the `whpk_` key can check, and a changed byte is found."""
    header = sign(BODY, WEBHOOK_ID, NOW_S, [], [ed25519.signer(PRIVATE_KEY)])["webhook-signature"]
    raw = base64.b64decode(header.removeprefix("v1a,"))
    public_key = Ed25519PublicKey.from_public_bytes(PUBLIC)
    public_key.verify(raw, f"{WEBHOOK_ID}.{NOW_S}.".encode() + BODY)
    with pytest.raises(InvalidSignature):
        public_key.verify(raw, f"{WEBHOOK_ID}.{NOW_S + 1}.".encode() + BODY)


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.Webhook])
@pytest.mark.parametrize("secret", [SECRET, OTHER_SECRET])
def test_other_libraries_accept_ours_during_a_rotation(
    library: type[standardwebhooks.Webhook] | type[svix.Webhook], secret: str
) -> None:
    """With two secrets and a `v1a` signature beside them, a receiver that knows either secret is content."""
    body = signature_body("id-1", "c2ln")
    now_s = int(datetime.now(tz=UTC).timestamp())
    headers = sign(body, WEBHOOK_ID, now_s, [OTHER_SECRET, SECRET], [ed25519.signer(PRIVATE_KEY)])
    library(secret).verify(body, headers)


@pytest.mark.parametrize("library", [standardwebhooks.Webhook, svix.Webhook])
@pytest.mark.parametrize(
    ("header", "value"),
    [("webhook-id", "msg_other"), ("webhook-timestamp", None), ("webhook-signature", "v1,AAAA")],
)
def test_other_libraries_refuse_what_was_tampered_with(
    library: type[standardwebhooks.Webhook] | type[svix.Webhook], header: str, value: str | None
) -> None:
    """The id, the time and the body are all under the signature."""
    headers = fresh_headers(BODY, SECRET)
    later_s = int(headers["webhook-timestamp"]) + 1
    tampered = {**headers, header: value or str(later_s)}
    for body, sent in [(BODY, tampered), (BODY + b" ", headers)]:
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            library(SECRET).verify(body, sent)


def test_other_libraries_refuse_an_old_webhook() -> None:
    """The signed time is what stops a replay."""
    old_s = int(datetime.now(tz=UTC).timestamp()) - 301
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(BODY, fresh_headers(BODY, SECRET, at_s=old_s))


def test_an_unsigned_webhook_is_never_made() -> None:
    """No key at all is a mistake in the settings, not a reason to send without."""
    with pytest.raises(ValueError, match="never sent unsigned"):
        sign(BODY, WEBHOOK_ID, NOW_S, [])


def test_an_id_with_a_dot_is_refused() -> None:
    """`a.1` at 2 and `a` at 1.2 must not sign the same bytes."""
    with pytest.raises(ValueError, match="ambiguous"):
        sign(BODY, "msg.1", NOW_S, [SECRET])


def test_a_secret_may_lack_its_padding() -> None:
    """Consoles strip `=`; the key is the same."""
    assert parse_secret(OTHER_SECRET) == parse_secret(OTHER_SECRET.rstrip("=")) == bytes(range(32))


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa$w",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSé",
        "whsec_" + "AAAA" * 22,
    ],
)
def test_a_bad_secret_is_refused_without_repeating_it(secret: str) -> None:
    """The error says what was expected and nothing of what was given."""
    with pytest.raises(SettingError, match=r"^expected whsec_ and 24 to 64 bytes in base64$"):
        parse_secret(secret)


def test_a_private_key_may_be_a_seed_or_a_pair() -> None:
    """Both spellings of a `whsk_` key give the same public key."""
    seed_alone = "whsk_" + base64.b64encode(SEED).decode()
    expected = "whpk_" + base64.b64encode(PUBLIC).decode()
    assert expected == ed25519.public_key(seed_alone) == ed25519.public_key(PRIVATE_KEY)


def test_a_generated_key_is_one_we_can_read() -> None:
    """What the tool prints is what the settings take."""
    assert ed25519.public_key(ed25519.generate_private_key()).startswith("whpk_")


def test_two_halves_that_do_not_belong_together_are_refused() -> None:
    """A pasted mixture of two key pairs would sign what nobody can verify."""
    mixed = "whsk_" + base64.b64encode(SEED + bytes(32)).decode()
    with pytest.raises(SettingError, match="do not belong together"):
        ed25519.signer(mixed)


def test_the_key_set_is_that_of_the_rfc() -> None:
    """RFC 8037, appendix A.3: this key has this thumbprint."""
    assert public_key_set(["whpk_" + base64.b64encode(PUBLIC).decode()]) == {
        "keys": [
            {
                "crv": "Ed25519",
                "kty": "OKP",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "alg": "EdDSA",
                "use": "sig",
            }
        ]
    }


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (answer(200), Outcome(OutcomeKind.DELIVERED, "http_200")),
        (answer(299, "60"), Outcome(OutcomeKind.DELIVERED, "http_299")),
        (answer(199), Outcome(OutcomeKind.RETRY, "http_199")),
        (answer(300), Outcome(OutcomeKind.RETRY, "http_300")),
        (answer(302), Outcome(OutcomeKind.RETRY, "http_302")),
        (answer(404), Outcome(OutcomeKind.RETRY, "http_404")),
        (answer(410), Outcome(OutcomeKind.GONE, "http_410")),
        (answer(429), Outcome(OutcomeKind.RETRY, "http_429")),
        (answer(429, "60"), Outcome(OutcomeKind.RETRY, "http_429", 60_000)),
        (answer(503, "60"), Outcome(OutcomeKind.RETRY, "http_503", 60_000)),
        (answer(503, "soon"), Outcome(OutcomeKind.RETRY, "http_503")),
        (answer(500, "60"), Outcome(OutcomeKind.RETRY, "http_500")),
        (answer(None), Outcome(OutcomeKind.RETRY, "timeout")),
    ],
)
def test_what_an_answer_means(result: PostResult, outcome: Outcome) -> None:
    """2xx is delivered, 410 is final, and only 429 and 503 may name a wait."""
    assert outcome == classify_answer(result, NOW_MS)


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 120 ", 120_000),
        ("007", 7_000),
        ("3601", 3_600_000),
        ("9" * 5_000, 3_600_000),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("1e3", None),
        ("Thu, 25 Feb 2021 15:02:11 GMT", 1_000),
        ("Thursday, 25-Feb-21 15:02:11 GMT", 1_000),
        ("Thu Feb 25 15:02:11 2021", 1_000),
        ("Thu, 25 Feb 2021 16:02:11 +0100", 1_000),
        ("Thu, 25 Feb 2021 15:02:09 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600_000),
        ("Thu, 32 Feb 2021 15:02:10 GMT", None),
        ("tomorrow", None),
    ],
)
def test_retry_after_in_both_forms(value: str | None, wait_ms: int | None) -> None:
    """Seconds or a date, never negative, never beyond the cap; anything else counts as not said."""
    assert wait_ms == parse_retry_after(value, NOW_MS, cap_ms=3_600_000)


@given(st.text(max_size=40))
def test_any_retry_after_is_survived(value: str) -> None:
    """The header is the receiver's text: whatever it says, the wait is within the cap."""
    wait_ms = parse_retry_after(value, NOW_MS, cap_ms=1_000)
    assert wait_ms is None or 0 <= wait_ms <= 1_000


@given(st.integers(min_value=0, max_value=3_600))
def test_a_date_means_its_wait(wait_s: int) -> None:
    """A date so many seconds ahead is a wait of so many seconds."""
    date = format_datetime(datetime.fromtimestamp(NOW_S + wait_s, tz=UTC), usegmt=True)
    assert wait_s * 1000 == parse_retry_after(date, NOW_MS, cap_ms=3_600_000)


@pytest.mark.parametrize(
    ("attempts", "fraction", "retry_after_ms", "delay_ms"),
    [
        (1, 0.0, None, 5_000),
        (1, 0.5, None, 5_250),
        (2, 0.0, None, 300_000),
        (3, 0.0, None, 1_800_000),
        (1, 0.0, 60_000, 60_000),
        (3, 0.0, 60_000, 1_800_000),
        (2, 0.0, 0, 300_000),
        (3, 0.0, 7_200_000, 7_200_000),
        (1, 0.5, 60_000, 63_000),
    ],
)
def test_the_delay_schedule(
    attempts: int, fraction: float, retry_after_ms: int | None, delay_ms: int
) -> None:
    """The schedule, or what the receiver asked for if that is longer; jitter only adds."""
    assert NOW_MS + delay_ms == next_attempt_ms(attempts, NOW_MS, DELAYS_MS, fraction, retry_after_ms)


def test_the_schedule_ends() -> None:
    """Three delays make four attempts, and no `Retry-After` buys a fifth."""
    assert next_attempt_ms(3, NOW_MS, DELAYS_MS, 0.0) is not None
    assert next_attempt_ms(4, NOW_MS, DELAYS_MS, 0.0) is None
    assert next_attempt_ms(4, NOW_MS, DELAYS_MS, 0.0, retry_after_ms=1_000) is None


def test_the_default_schedule_outlives_a_day() -> None:
    """Eight attempts in 27.6 h, whatever short `Retry-After` comes with each answer."""
    delays_ms = [1_000 * int(delay_s) for delay_s in DELAYS_S.split(",")]
    now_ms = 0
    for attempts in range(1, 8):
        next_ms = next_attempt_ms(attempts, now_ms, delays_ms, 0.0, retry_after_ms=30_000)
        assert next_ms is not None
        now_ms = next_ms
    assert (len(delays_ms) + 1, round(now_ms / 3_600_000, 1)) == (8, 27.6)


@given(
    st.integers(min_value=1, max_value=3),
    st.floats(min_value=0, max_value=1, exclude_max=True),
    st.none() | st.integers(min_value=0, max_value=86_400_000),
)
def test_jitter_never_shortens_a_wait(attempts: int, fraction: float, retry_after_ms: int | None) -> None:
    """No attempt starts before the schedule or the receiver said, and none more than a tenth later."""
    asked_ms = max(DELAYS_MS[attempts - 1], retry_after_ms or 0)
    next_ms = next_attempt_ms(attempts, 0, DELAYS_MS, fraction, retry_after_ms)
    assert next_ms is not None
    assert asked_ms <= next_ms <= asked_ms * 1.1


def test_an_excerpt_is_one_short_printable_line() -> None:
    """What a receiver answers can't forge a log line."""
    assert excerpt(b"no\r\n\x1b[31m such \xff hook\x00") == "no [31m such \ufffd hook"
    assert len(excerpt(("é" * 500).encode())) == EXCERPT_LENGTH_MAX


def test_bodies_are_json() -> None:
    """Any text survives the round trip."""
    assert json.loads(failure_body("id", 502, 'a "quoted"\n\u2028 ✗'))["message"] == 'a "quoted"\n\u2028 ✗'
