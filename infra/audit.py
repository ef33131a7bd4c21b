"""Checks every locked package for known vulnerabilities: `make audit`, a part of `make check`.

It fails if the service knows of one. If the service can't be reached, it reports that nothing was checked,
and does not fail. pip-audit by itself reports success for a package that it could not check.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra import ROOT

AUDITOR = "pip-audit==2.10.1"
LOCKS = ("requirements.lock", "infra/**/*.lock", "functions/*/requirements.txt")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
# What uv and pip-audit print when they can't reach the network or the service.
UNREACHABLE = re.compile(
    r"ConnectionError|Connection ?Timeout|ReadTimeout|ServiceError"
    r"|error sending request|Failed to fetch|dns error",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of an audit, in words, and whether it passes."""

    words: str
    passed: bool


def pins(locks: Iterable[str]) -> list[dict[str, str]]:
    """Return the pinned packages of these texts by name; a name's second version is in a second mapping."""
    groups: list[dict[str, str]] = []
    for text in locks:
        for name, version in PIN.findall(text):
            group = next((group for group in groups if group.get(name, version) == version), None)
            if group is None:
                groups.append(group := {})
            group[name] = version
    return groups


def judge(rows: Sequence[dict[str, Any]]) -> Verdict:
    """Judge the auditor's report, which has a row per package."""
    skipped = [row["name"] for row in rows if "skip_reason" in row]
    found = [
        f"{row['name']} {row['version']}: {vulnerability['id']}, fixed in {fixes_of(vulnerability)}"
        for row in rows
        for vulnerability in row.get("vulns", ())
    ]
    if found:
        return Verdict("\n".join(["known vulnerabilities:", *found]), passed=False)
    if rows and len(skipped) == len(rows):
        return not_done("the service knows none of the packages: a mirror without it")
    if skipped:
        return Verdict(f"not to be looked up: {', '.join(skipped)}", passed=False)
    return Verdict(f"{len(rows)} locked packages, no known vulnerability", passed=True)


def fixes_of(vulnerability: dict[str, Any]) -> str:
    """Return the versions without a vulnerability."""
    return ", ".join(vulnerability["fix_versions"]) or "no version"


def not_done(why: str) -> Verdict:
    """Return the verdict that nothing was checked: not a failure, and not a success."""
    return Verdict(f"NOT DONE, nothing was looked up ({why})", passed=True)


def failed(output: str) -> Verdict:
    """Judge an auditor that gave no report, by its error output."""
    complaint = output.strip().splitlines()[-1:] or ["no output"]
    if UNREACHABLE.search(output):
        return not_done(f"no connection: {complaint[0][:160]}")
    return Verdict(f"the auditor failed: {complaint[0]}", passed=False)


def ask(groups: Sequence[dict[str, str]]) -> Verdict:
    """Check all packages, one group after the other."""
    rows: list[dict[str, Any]] = []
    for group in groups:
        ended = _run("\n".join(f"{name}=={version}" for name, version in group.items()))
        try:
            rows += json.loads(ended.stdout)["dependencies"]
        except ValueError:
            return failed(ended.stderr)
    return judge(rows)


def _run(requirements: str) -> "subprocess.CompletedProcess[str]":
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirements)
        file.flush()
        uv = [sys.executable, "-m", "uv", "tool", "run", "--from", AUDITOR]
        options = ["--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json"]
        command = [*uv, "pip-audit", *options, "--requirement", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed command


def locks(folder: Path = ROOT) -> list[str]:
    """Return the texts of all lock files."""
    return [path.read_text() for pattern in LOCKS for path in sorted(folder.glob(pattern))]


def main() -> int:
    """Run the command line."""
    verdict = ask(pins(locks()))
    print(f"audit: {verdict.words}")
    return int(not verdict.passed)


if __name__ == "__main__":
    sys.exit(main())
