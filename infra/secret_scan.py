"""Scans what is or may be committed for keys: `make secrets`, a part of `make check`.

`.secrets.baseline` has the hashes of reviewed findings, which are no secrets: `make secrets REVIEWED=1` adds
all current findings. Tests have many keys that open nothing, so in tests only keys of known services and
private keys are findings.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from detect_secrets.core import baseline
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import default_settings, get_settings

from infra import ROOT

BASELINE = ROOT / ".secrets.baseline"
LISTED = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
GUESSES = ("KeywordDetector", "Base64HighEntropyString", "HexHighEntropyString")


def scan(folder: Path, files: Sequence[str]) -> SecretsCollection:
    """Return everything in these files that looks like a secret."""
    found = SecretsCollection(str(folder))
    with default_settings():
        for name in files:
            if not is_test(name):
                found.scan_file(name)
        get_settings().disable_plugins(*GUESSES)
        for name in files:
            if is_test(name):
                found.scan_file(name)
    return _relative(found)


def _relative(found: SecretsCollection) -> SecretsCollection:
    """Return the same with file names relative to the tree, so that a review holds in every clone."""
    relative = SecretsCollection()
    for name, secret in found:
        secret.filename = name
        relative[name].add(secret)
    return relative


def is_test(name: str) -> bool:
    """Return whether a file may hold keys that open nothing, such as a test's."""
    return name.startswith("tests/")


def findings(found: SecretsCollection) -> Iterator[str]:
    """Yield a line for each finding. The line never repeats the secret."""
    for name, secret in found:
        yield f"{name}:{secret.line_number}: {secret.type}"


def committable(folder: Path) -> list[str]:
    """Return the files that git tracks or would add, without those that are deleted."""
    listed = subprocess.run(LISTED, cwd=folder, capture_output=True, text=True, check=True).stdout  # noqa: S603
    names = (name for name in listed.split("\0") if name and Path(name) != Path(BASELINE.name))
    return sorted(name for name in names if (folder / name).is_file())


def reviewed() -> SecretsCollection:
    """Return the findings that were reviewed and are no secrets."""
    return baseline.load(baseline.load_from_file(str(BASELINE)), str(BASELINE))


def write_reviewed(found: SecretsCollection) -> None:
    """Record all current findings as reviewed: they are no secrets."""
    for _, secret in found:
        secret.is_secret = False
    with default_settings():
        baseline.save_to_file(found, str(BASELINE))


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reviewed", action="store_true", help="all that is found now is no secret")
    options: Any = parser.parse_args()
    files = committable(ROOT)
    found = scan(ROOT, files)
    if options.reviewed:
        write_reviewed(found)
        return 0
    lines = list(findings(found - reviewed()))
    for line in lines:
        print(f"secrets: {line}")
    if not lines:
        print(f"secrets: {len(files)} files, none found that was not reviewed")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
