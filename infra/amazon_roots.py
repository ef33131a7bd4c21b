"""Writes the bundle of AWS's certificate authorities: `python -m infra.amazon_roots`.

certifi has every authority of the Mozilla programme. AWS's endpoints need those of Amazon Trust Services only
(https://www.amazontrust.com/repository).
"""

import re
from pathlib import Path

import certifi

from adapters.aws import ROOTS

LABELS = (
    "Amazon Root CA 1",
    "Amazon Root CA 2",
    "Amazon Root CA 3",
    "Amazon Root CA 4",
    "Starfield Services Root Certificate Authority - G2",
)
CERTIFICATE = re.compile(
    r'# Label: "(?P<label>[^"]+)"\n(?:#[^\n]*\n)*'
    r"(?P<pem>-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n)",
    re.DOTALL,
)


def bundle() -> str:
    """Return the certificates, each below its name."""
    pems = {row["label"]: row["pem"] for row in CERTIFICATE.finditer(Path(certifi.where()).read_text())}
    return "".join(f"# {label}\n{pems[label]}" for label in LABELS)


if __name__ == "__main__":
    ROOTS.write_text(bundle())
