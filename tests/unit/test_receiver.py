"""The receiver kit accepts what we send, and nothing else."""

import base64
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from adapters import ed25519
from core.webhook import sign, signature_body

FOLDER = Path(__file__).parents[2] / "docs" / "examples" / "receiver"


def load_kit() -> Any:
    """Import the kit by its path: it belongs to its users, not to our packages."""
    spec = importlib.util.spec_from_file_location("relay_webhooks", FOLDER / "relay_webhooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kit = load_kit()

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW_SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
FOREIGN_SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
PRIVATE_KEY = "whsk_" + base64.b64encode(bytes(range(32))).decode()
PUBLIC_KEY = ed25519.public_key(PRIVATE_KEY)
FOREIGN_PUBLIC_KEY = ed25519.public_key("whsk_" + base64.b64encode(bytes(32)).decode())
BODY = signature_body("id-1", "c2ln")
NOTIFICATION = {"request_id": "id-1", "status": 200, "signature": "c2ln"}
NOW_S = 1_700_000_000


def headers_at(now_s: int) -> dict[str, str]:
    """Sign as during a rotation, with both kinds of key."""
    return sign(BODY, "id-1", now_s, [SECRET, NEW_SECRET], [ed25519.signer(PRIVATE_KEY)])


@pytest.mark.parametrize(
    "keys",
    [[SECRET], [NEW_SECRET], [PUBLIC_KEY], [FOREIGN_SECRET, SECRET], [FOREIGN_PUBLIC_KEY, PUBLIC_KEY]],
)
def test_any_one_key_suffices(keys: list[str]) -> None:
    """On both sides of a rotation, and with either kind of key, the notification is accepted."""
    assert kit.Verifier(keys).verify(headers_at(NOW_S), BODY, NOW_S) == NOTIFICATION


@pytest.mark.parametrize(
    "keys", [[FOREIGN_SECRET], [FOREIGN_PUBLIC_KEY], [FOREIGN_SECRET, FOREIGN_PUBLIC_KEY]]
)
def test_a_foreign_key_is_refused(keys: list[str]) -> None:
    """What nobody we trust signed is not ours."""
    with pytest.raises(kit.InvalidWebhook):
        kit.Verifier(keys).verify(headers_at(NOW_S), BODY, NOW_S)


@pytest.mark.parametrize("key", [SECRET, PUBLIC_KEY])
@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "id-2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW_S + 1)},
        {"webhook-timestamp": f"{NOW_S}.0"},
        {"webhook-timestamp": "\u0661\u0667"},
        {"webhook-timestamp": "9" * 5_000},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1a,"},
        {"webhook-signature": "v1,é v1a,é"},
        {"webhook-signature": ",,, v1,a,b v2,AAAA"},
    ],
)
def test_a_changed_header_is_refused(key: str, change: Mapping[str, str]) -> None:
    """Whatever is in the headers, the only error is InvalidWebhook."""
    with pytest.raises(kit.InvalidWebhook):
        kit.Verifier([key]).verify({**headers_at(NOW_S), **change}, BODY, NOW_S)


@pytest.mark.parametrize("key", [SECRET, PUBLIC_KEY])
def test_a_changed_body_is_refused(key: str) -> None:
    """One more blank is another body."""
    with pytest.raises(kit.InvalidWebhook):
        kit.Verifier([key]).verify(headers_at(NOW_S), BODY + b" ", NOW_S)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(header: str) -> None:
    """All three are needed."""
    headers = {name: value for name, value in headers_at(NOW_S).items() if name != header}
    with pytest.raises(kit.InvalidWebhook):
        kit.Verifier([SECRET]).verify(headers, BODY, NOW_S)


def test_the_tolerance_is_exact() -> None:
    """Five minutes either way are accepted, one second more is not."""
    verifier = kit.Verifier([SECRET])
    for now_s in (NOW_S - 300, NOW_S + 300):
        assert verifier.verify(headers_at(NOW_S), BODY, now_s) == NOTIFICATION
    for now_s in (NOW_S - 301, NOW_S + 301):
        with pytest.raises(kit.InvalidWebhook, match="too old or too new"):
            verifier.verify(headers_at(NOW_S), BODY, now_s)


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[]", b"\xff"])
def test_a_signed_body_that_is_no_object_is_refused(body: bytes) -> None:
    """The caller always gets an object."""
    headers = sign(body, "id-1", NOW_S, [SECRET])
    with pytest.raises(kit.InvalidWebhook):
        kit.Verifier([SECRET]).verify(headers, body, NOW_S)


def test_the_names_of_headers_are_case_insensitive() -> None:
    """Frameworks spell them as they like."""
    headers = {name.title(): value for name, value in headers_at(NOW_S).items()}
    assert kit.Verifier([SECRET]).verify(headers, BODY, NOW_S) == NOTIFICATION


@pytest.mark.parametrize(
    "keys", [[], [""], ["whsec_"], ["whsec_$"], ["whpk_AAAA"], [PRIVATE_KEY], ["secret"]]
)
def test_a_key_that_can_verify_nothing_is_refused(keys: list[str]) -> None:
    """An empty secret would let anybody sign."""
    with pytest.raises(ValueError, match=r"key|secret"):
        kit.Verifier(keys)


async def test_the_fastapi_dependency() -> None:
    """A good webhook reaches the handler parsed; a bad one gets 401 and reaches nothing."""
    app = FastAPI()
    verified = kit.verified_by(kit.Verifier([SECRET]))

    @app.post("/signatures")
    async def receive(notification: Annotated[dict[str, Any], Depends(verified)]) -> Any:
        return notification

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        accepted = await client.post("/signatures", content=BODY, headers=headers_at(int(time())))
        refused = await client.post("/signatures", content=BODY, headers=headers_at(NOW_S))
    assert (accepted.status_code, accepted.json()) == (200, NOTIFICATION)
    assert refused.status_code == 401


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the example with its package installed; only CI insists on having Node."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Node and npm are missing")
        pytest.skip("needs Node and npm")
    folder = tmp_path_factory.mktemp("receiver")
    for name in ("package.json", "verify.mjs"):
        shutil.copy(FOLDER / name, folder)
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)  # noqa: S603 - our own example
    return folder


@contextmanager
def node_receiver(folder: Path) -> Iterator[str]:
    environment = {**os.environ, "WEBHOOK_SECRET": NEW_SECRET, "PORT": "0"}
    command = [shutil.which("node") or "node", "verify.mjs"]
    with subprocess.Popen(  # noqa: S603 - our own example
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().removeprefix("listening on ").strip()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def test_node_verifies_ours(node_folder: Path) -> None:
    """The npm library accepts ours with `v1a` beside it and during a rotation, and refuses a changed body."""
    headers = headers_at(int(time()))
    with node_receiver(node_folder) as url:
        accepted = httpx.post(url, content=BODY, headers=headers, trust_env=False)
        refused = httpx.post(url, content=BODY + b" ", headers=headers, trust_env=False)
    assert (accepted.status_code, refused.status_code) == (204, 401)
