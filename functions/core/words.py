"""Codes and times in words, for people."""

from collections.abc import Mapping

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
    "host_busy": "the receiver is busy with others of ours",
    "host_circuit_open": "the receiver is out of order, and left alone for a while",
}
PREFIXES: Mapping[str, str] = {
    "http_": "HTTP {}",
    "upstream_refused_": "the upstream refuses the message with HTTP {}",
    "upstream_": "HTTP {}",
    "egress_": "the address is not allowed ({})",
}


def explain(code: str) -> str:
    """Return a code in words; one that is not known as it is, with spaces."""
    if code in SENTENCES:
        return SENTENCES[code]
    for prefix, sentence in PREFIXES.items():
        if code.startswith(prefix):
            return sentence.format(code.removeprefix(prefix).replace("_", " "))
    return code.replace("_", " ")


def span(ms: int) -> str:
    """Return a duration in its largest sensible unit: 42 s, 7 min, 30 h, 3 days."""
    ms = max(0, ms)
    for below_ms, unit_ms, name in UNITS:
        if ms < below_ms:
            return f"{round(ms / unit_ms)} {name}"
    return f"{round(ms / DAY_MS)} days"
