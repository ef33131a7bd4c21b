"""A key that gets into the tree is found; what was reviewed is not found again, wherever it moves."""

from pathlib import Path

import pytest

from infra import secret_scan

# In pieces, or this file would be a finding.
AWS_KEY = "AKIA" + "Q3EGRIPXZ5NMB7TW"
PRIVATE_KEY = "-----BEGIN RSA " + "PRIVATE KEY-----"
GUESSED = "api_" + 'key = "' + "c6f1b9e0d4a7483f95b20c8e17da63f4" + '"'


@pytest.mark.parametrize(
    ("expected", "name", "text"),
    [
        (["AWS Access Key"], "notes.md", f"use {AWS_KEY} for it"),
        (["AWS Access Key"], "tests/test_x.py", f'KEY = "{AWS_KEY}"'),
        (["Private Key"], "infra/key.pem", PRIVATE_KEY),
        (["Private Key"], "tests/key.pem", PRIVATE_KEY),
        (["Hex High Entropy String", "Secret Keyword"], "functions/x.py", GUESSED),
        ([], "tests/test_x.py", GUESSED),
        ([], "functions/x.py", "key = settings.upstream_key"),
    ],
)
def test_a_planted_key_is_found(tmp_path: Path, expected: list[str], name: str, text: str) -> None:
    """Keys of known services and private keys everywhere; guesses only where no made-up keys belong."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text + "\n")
    found = secret_scan.findings(secret_scan.scan(tmp_path, [name]))
    assert sorted(found) == [f"{name}:1: {kind}" for kind in expected]


def test_what_was_reviewed_is_no_finding(tmp_path: Path) -> None:
    """It is known by its hash: a line above it changes nothing, another secret in its place does."""
    name = "functions/x.py"
    file = tmp_path / name
    file.parent.mkdir()
    file.write_text(GUESSED + "\n")
    reviewed = secret_scan.scan(tmp_path, [name])
    file.write_text("# moved\n" + GUESSED + "\n")
    assert not list(secret_scan.findings(secret_scan.scan(tmp_path, [name]) - reviewed))
    file.write_text(GUESSED.replace("c6f1", "d7e2") + "\n")
    assert list(secret_scan.findings(secret_scan.scan(tmp_path, [name]) - reviewed))


def test_what_was_reviewed_is_known_in_every_clone(tmp_path: Path) -> None:
    """The baseline names files as the tree does, wherever it lies."""
    for clone in ("one", "other"):
        (tmp_path / clone).mkdir()
        (tmp_path / clone / "x.py").write_text(GUESSED + "\n")
    one, other = (secret_scan.scan(tmp_path / clone, ["x.py"]) for clone in ("one", "other"))
    assert list(secret_scan.findings(one))
    assert not list(secret_scan.findings(other - one))
    assert all(not Path(secret.filename).is_absolute() for _, secret in secret_scan.reviewed())


def test_every_reviewed_finding_is_marked_as_none() -> None:
    """Nobody's secret is in the baseline because nobody looked."""
    rows = [secret for _, secret in secret_scan.reviewed()]
    assert rows
    assert all(secret.is_secret is False for secret in rows)
