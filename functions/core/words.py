"""Codes and times in words, for people."""

from collections.abc import Mapping

from core.egress import Verdict
from core.webhook import EGRESS_REASON_PREFIX

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
UNITS = ((100 * SECOND_MS, SECOND_MS, "s"), (100 * MINUTE_MS, MINUTE_MS, "min"), (48 * HOUR_MS, HOUR_MS, "h"))

SENTENCES: Mapping[str, str] = {
    "": "not known",
    "attempts_exhausted": "given up after the most calls that are allowed",
    "too_old": "given up because it is too old",
    "purged_by_operator": "given up by an operator",
    "failed": "an answer that is no signature",
    "unanswered": "no answer in time",
    "ReadTimeout": "no answer in time",
    "ConnectTimeout": "no connection in time",
    "ConnectError": "no connection",
    "ReadError": "the connection broke",
    "RemoteProtocolError": "the connection broke",
    "timeout": "no answer in time",
    "connect_refused": "no connection",
    "dns_failure": "the host name has no address",
    "tls_failure": "no encrypted connection",
    "protocol_error": "an answer that is not HTTP",
    "host_busy": "the receiver's host is busy with other webhooks",
    "circuit_open": "the receiver fails, and is left alone for a while",
    "host_circuit_open": "the receiver fails, and is left alone for a while",  # of version 0.1
    "receiver_failing": "the receiver failed last: waits among the retries",
    "out_of_time": "waits for the next notifier",
}
PREFIXES: Mapping[str, str] = {
    "http_": "HTTP {}",
    "upstream_refused_": "the upstream refuses the message with HTTP {}",
    "upstream_": "HTTP {}",
    EGRESS_REASON_PREFIX: "the webhook URL {}",
}


def explain(code: str) -> str:
    """Return a code in words; an unknown code is returned with spaces for underscores."""
    if code in SENTENCES:
        return SENTENCES[code]
    for prefix, sentence in PREFIXES.items():
        if code.startswith(prefix):
            return sentence.format(_explain_rest(prefix, code.removeprefix(prefix)))
    return code.replace("_", " ")


def _explain_rest(prefix: str, rest: str) -> str:
    if prefix == EGRESS_REASON_PREFIX and rest in set(Verdict):
        return Verdict(rest).expected
    return rest.replace("_", " ")


def span(ms: int) -> str:
    """Return a duration in its largest sensible unit: 42 s, 7 min, 30 h, 3 days."""
    ms = max(0, ms)
    for below_ms, unit_ms, name in UNITS:
        if ms < below_ms:
            return f"{round(ms / unit_ms)} {name}"
    return f"{round(ms / DAY_MS)} days"
