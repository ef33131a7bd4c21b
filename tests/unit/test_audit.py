"""The audit is never green without having looked."""

from typing import Any

import pytest

from infra import audit

VULNERABLE: dict[str, Any] = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}],
}
GOOD: dict[str, Any] = {"name": "httpx", "version": "0.28.1", "vulns": []}
SKIPPED: dict[str, Any] = {"name": "anyio", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("passed", "words", "rows"),
    [
        (True, "2 locked packages, no known vulnerability", [GOOD, GOOD]),
        (False, "known vulnerabilities:\njinja2 2.4.1: PYSEC-2019-217, fixed in 2.10.1", [GOOD, VULNERABLE]),
        (
            False,
            "known vulnerabilities:\njinja2 2.4.1: PYSEC-2019-217, fixed in 2.10.1",
            [SKIPPED, VULNERABLE],
        ),
        (False, "not to be looked up: anyio", [GOOD, SKIPPED]),
    ],
)
def test_a_vulnerability_or_an_unknown_package_fails(passed: bool, words: str, rows: Any) -> None:
    """One of either is enough, whatever is said of the others."""
    assert audit.Verdict(words, passed) == audit.judge(rows)


def test_a_service_that_knows_nothing_was_not_asked() -> None:
    """A mirror that answers 404 to each look-up is no clean bill, and no failure."""
    verdict = audit.judge([SKIPPED, SKIPPED])
    assert verdict.passed
    assert verdict.words.startswith("NOT DONE")


@pytest.mark.parametrize(
    "output",
    [
        "requests.exceptions.ConnectionError: Failed to resolve 'osv.example'",
        "pip_audit._service.interface.ConnectionError: Could not connect to PyPI's vulnerability feed",
        "error: Failed to fetch: `https://index.example/simple/pip-audit/`\n  Caused by: dns error",
    ],
)
def test_without_a_network_it_says_that_nothing_was_looked_up(output: str) -> None:
    """It does not fail for that, and it does not pass for more than it is."""
    verdict = audit.failed(output)
    assert verdict.passed
    assert verdict.words.startswith("NOT DONE")


@pytest.mark.parametrize("output", ["", "ERROR:pip_audit._cli:package boto3 has duplicate requirements"])
def test_an_auditor_that_breaks_fails(output: str) -> None:
    """What has another reason than the network is ours to repair."""
    assert not audit.failed(output).passed


def test_every_pinned_version_is_asked_about_once() -> None:
    """A package that two locks pin in two versions is asked about twice."""
    texts = [
        "anyio==4.16.0 \\\n    --hash=sha256:0\nboto3==1.1 ; python_version < '4'\n",
        "anyio==4.16.0\nboto3==1.2\n",
    ]
    assert audit.pins(texts) == [{"anyio": "4.16.0", "boto3": "1.1"}, {"boto3": "1.2"}]


def test_every_lock_file_is_read() -> None:
    """The development's, the emulator's, the containers' and each function's."""
    assert len(audit.locks()) == 6
