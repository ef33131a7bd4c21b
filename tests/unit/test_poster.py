"""Attacks on the sender of webhooks, over real sockets.

A "public" address is played by a server on loopback: `Switchboard` is the network that a poster sees, and
keeps a list of every address that was dialled.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapters.poster import ANSWER_BYTES_MAX, HttpPoster, ThreadResolver, in_turn
from core.egress import Policy
from core.webhook import EXCERPT_LENGTH_MAX, PostResult

PUBLIC_ADDRESS = "93.184.215.14"
DEADLINE_S = 10  # never met by what is answered, on a busy machine either
HEAD_TAKES_S = 20
OTHER_PUBLIC_ADDRESS = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
LOOPBACK = "127.0.0.1"
METADATA = "169.254.169.254"
HOST = "hook.example"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Switchboard(httpcore.AsyncNetworkBackend):
    """The world's network: public addresses are connected to a server of the test."""

    def __init__(self) -> None:
        self.servers: dict[str, int] = {}
        self.dialled: list[str] = []
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        if host not in self.servers:
            raise httpcore.ConnectError(f"nobody lives at {host}:{port}")
        return await self._network.connect_tcp(
            LOOPBACK, self.servers[host], timeout, local_address, socket_options
        )


class Receiver:
    """A server that keeps what it was sent and answers as told."""

    def __init__(self, answer: bytes | Handler) -> None:
        self.requests: list[bytes] = []
        self._answer = answer
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections[writer] = asyncio.create_task(self._serve(reader, writer))

    async def hang_up(self) -> None:
        for writer in self._connections:
            writer.transport.abort()
        for writer, served in self._connections.items():
            await served
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            if isinstance(self._answer, bytes):
                writer.write(self._answer)
                await writer.drain()
            else:
                await self._answer(reader, writer)
        writer.close()


async def post(poster: HttpPoster, url: str, headers: Mapping[str, str], body: bytes) -> PostResult:
    """Resolve and post, as the notifier does."""
    addresses = await poster.resolve(url)
    return (
        addresses if isinstance(addresses, PostResult) else await poster.post(url, addresses, headers, body)
    )


def resolving_to(*answers: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """Answer with the first list at the first question, with the second at the second; the last one stays."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


async def unresolvable(_host: str, _port: int) -> Sequence[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@contextlib.asynccontextmanager
async def listening(receiver: Receiver, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.start_server(receiver.accept, LOOPBACK, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await receiver.hang_up()


@pytest.fixture
def network() -> Switchboard:
    return Switchboard()


@pytest.fixture
def plain(network: Switchboard) -> HttpPoster:
    """Return a poster that may use http, so that most tests need no certificate."""
    return plain_poster(network, DEADLINE_S)


@pytest.fixture
def impatient(network: Switchboard) -> HttpPoster:
    """Return the same for what only its deadline ends."""
    return plain_poster(network, 1)


def plain_poster(network: Switchboard, deadline_s: float) -> HttpPoster:
    return HttpPoster(
        Policy(allow_private=True),
        "1.2.3",
        deadline_s=deadline_s,
        resolver=resolving_to([PUBLIC_ADDRESS]),
        network=network,
    )


@pytest.fixture
def strict(network: Switchboard, authority: "Authority") -> HttpPoster:
    """Return a poster as in production, but that it trusts the test's own authority."""
    return HttpPoster(
        Policy(),
        "1.2.3",
        deadline_s=DEADLINE_S,
        resolver=resolving_to([PUBLIC_ADDRESS]),
        network=network,
        make_tls=authority.client_context,
    )


class Authority:
    """A certificate authority that one test trusts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._issue("Test authority", self._key.public_key(), is_authority=True)

    def client_context(self) -> ssl.SSLContext:
        text = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=text)

    def server_context(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(host, key.public_key(), is_authority=False)
        path = self._folder / f"{host}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context

    def _issue(
        self, name: str, public_key: ec.EllipticCurvePublicKey, *, is_authority: bool
    ) -> x509.Certificate:
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        now = datetime.now(tz=UTC)
        usage = x509.KeyUsage(
            digital_signature=not is_authority,
            key_cert_sign=is_authority,
            crl_sign=is_authority,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        own_id = x509.SubjectKeyIdentifier.from_public_key(public_key)
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", "-"))]), critical=False
            )
            .add_extension(usage, critical=True)
            .add_extension(own_id, critical=False)
            .add_extension(issuer_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_the_exact_bytes_arrive(plain: HttpPoster, network: Switchboard) -> None:
    """The receiver gets the body that was signed, our headers, and the host that was named."""
    receiver = Receiver(OK)
    async with listening(receiver) as network.servers[PUBLIC_ADDRESS]:
        result = await post(plain, f"http://{HOST}:8080/a?b=%20c", {"webhook-id": "1"}, b'{"a":1}')
    assert result == PostResult(200, "http_200", None, "ok")
    head, _, body = receiver.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a?b=%20c HTTP/1.1"
    assert {
        b"webhook-id: 1",
        b"host: hook.example:8080",
        b"user-agent: signing-relay/1.2.3",
        b"accept: */*",
    } <= set(lines)
    assert body == b'{"a":1}'


async def test_tls_is_checked_against_the_name(
    strict: HttpPoster, network: Switchboard, authority: Authority
) -> None:
    """We connect to a judged address, and still ask for, and check, the certificate of the name."""
    receiver = Receiver(OK)
    tls = authority.server_context(HOST)
    names: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    async with listening(receiver, tls) as network.servers[PUBLIC_ADDRESS]:
        result = await post(strict, f"https://{HOST}/", {}, b"{}")
    assert result.status == 200
    assert names == [HOST]
    assert network.dialled == [PUBLIC_ADDRESS]


async def test_a_certificate_of_another_name_is_refused(
    strict: HttpPoster, network: Switchboard, authority: Authority
) -> None:
    """Whoever holds the address but not the name gets nothing."""
    receiver = Receiver(OK)
    tls = authority.server_context("other.example")
    async with listening(receiver, tls) as network.servers[PUBLIC_ADDRESS]:
        result = await post(strict, f"https://{HOST}/", {}, b"{}")
    assert result == PostResult(None, "tls_failure", None, "")
    assert receiver.requests == []


async def test_an_untrusted_certificate_is_refused(
    network: Switchboard, strict: HttpPoster, tmp_path: Path
) -> None:
    """The right name in a certificate that nobody vouches for is worth nothing."""
    (tmp_path / "impostor").mkdir()
    impostor = Authority(tmp_path / "impostor")
    receiver = Receiver(OK)
    async with listening(receiver, impostor.server_context(HOST)) as network.servers[PUBLIC_ADDRESS]:
        result = await post(strict, f"https://{HOST}/", {}, b"{}")
    assert result.reason == "tls_failure"
    assert receiver.requests == []


async def test_a_port_without_tls_is_a_tls_failure(strict: HttpPoster, network: Switchboard) -> None:
    """A receiver without TLS is told apart from one that is down."""

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(greet, LOOPBACK, 0)
    async with server:
        network.servers[PUBLIC_ADDRESS] = server.sockets[0].getsockname()[1]
        result = await post(strict, f"https://{HOST}/", {}, b"{}")
    assert result == PostResult(None, "tls_failure", None, "")


async def test_a_rebinding_name_never_reaches_loopback(network: Switchboard, authority: Authority) -> None:
    """Public when judged, loopback a moment later: what is dialled is what was judged, at every post."""
    secret, public = Receiver(OK), Receiver(OK)
    tls = authority.server_context(HOST)
    poster = HttpPoster(
        Policy(),
        "1.2.3",
        deadline_s=DEADLINE_S,
        resolver=resolving_to([PUBLIC_ADDRESS], [LOOPBACK]),
        network=network,
        make_tls=authority.client_context,
    )
    async with (
        listening(public, tls) as network.servers[PUBLIC_ADDRESS],
        listening(secret, tls) as network.servers[LOOPBACK],
    ):
        first = await post(poster, f"https://{HOST}/", {}, b"{}")
        second = await post(poster, f"https://{HOST}/", {}, b"{}")
    assert (first.status, second.reason) == (200, "egress_deny_loopback")
    assert network.dialled == [PUBLIC_ADDRESS]
    assert secret.requests == []


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.0.0.1", "egress_deny_private"),
        (METADATA, "egress_deny_metadata"),
        ("::ffff:127.0.0.1", "egress_deny_loopback"),
        ("64:ff9b::a9fe:a9fe", "egress_deny_metadata"),
        ("fe80::1%eth0", "egress_deny_host_syntax"),
    ],
)
async def test_one_bad_address_condemns_all(network: Switchboard, address: str, reason: str) -> None:
    """A name with a public and a private address is refused, in whatever order they come."""
    for addresses in ([PUBLIC_ADDRESS, address], [address, PUBLIC_ADDRESS]):
        mixed = HttpPoster(Policy(), "1", resolver=resolving_to(addresses), network=network)
        assert (await post(mixed, f"https://{HOST}/", {}, b"{}")).reason == reason
    assert network.dialled == []


async def test_a_refused_url_is_neither_resolved_nor_dialled(network: Switchboard) -> None:
    """A literal address is judged as it stands."""
    poster = HttpPoster(Policy(), "1", resolver=unresolvable, network=network)
    assert (await post(poster, f"https://{METADATA}/", {}, b"")).reason == "egress_deny_metadata"
    assert (await post(poster, "http://hook.example/", {}, b"")).reason == "egress_deny_scheme"
    assert network.dialled == []


async def test_a_literal_address_is_not_resolved(network: Switchboard) -> None:
    """A public address in the URL is called as it stands, with itself as the host."""
    poster = HttpPoster(Policy(allow_private=True), "1", resolver=unresolvable, network=network)
    receiver = Receiver(OK)
    async with listening(receiver) as port:
        network.servers.update({PUBLIC_ADDRESS: port, OTHER_PUBLIC_ADDRESS: port})
        assert (await post(poster, f"http://{PUBLIC_ADDRESS}/", {}, b"{}")).status == 200
        assert (await post(poster, f"http://[{OTHER_PUBLIC_ADDRESS}]:81/", {}, b"{}")).status == 200
    assert network.dialled == [PUBLIC_ADDRESS, OTHER_PUBLIC_ADDRESS]
    hosts = [request.partition(b"host: ")[2].partition(b"\r\n")[0].decode() for request in receiver.requests]
    assert hosts == [PUBLIC_ADDRESS, f"[{OTHER_PUBLIC_ADDRESS}]:81"]


async def test_a_redirect_is_not_followed(plain: HttpPoster, network: Switchboard) -> None:
    """A receiver can't send us to the metadata service."""
    redirect = f"HTTP/1.1 307 Go\r\nLocation: http://{METADATA}/\r\nContent-Length: 0\r\n\r\n".encode()
    async with listening(Receiver(redirect)) as network.servers[PUBLIC_ADDRESS]:
        result = await post(plain, f"http://{HOST}/", {}, b"{}")
    assert result == PostResult(307, "http_307", None, "")
    assert network.dialled == [PUBLIC_ADDRESS]


async def test_an_environment_proxy_is_not_used(
    plain: HttpPoster, network: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would connect wherever it likes."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{LOOPBACK}:9")
    async with listening(Receiver(OK)) as network.servers[PUBLIC_ADDRESS]:
        assert (await post(plain, f"http://{HOST}/", {}, b"{}")).status == 200


async def test_retry_after_and_the_beginning_of_the_answer_are_kept(
    plain: HttpPoster, network: Switchboard
) -> None:
    """What the receiver says is passed on, and cut to a line."""
    body = b"busy\n" + b"x" * 1_000
    answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 1005\r\n\r\n" + body
    async with listening(Receiver(answer)) as network.servers[PUBLIC_ADDRESS]:
        result = await post(plain, f"http://{HOST}/", {}, b"{}")
    assert (result.status, result.retry_after) == (503, "120")
    assert result.excerpt == ("busy " + "x" * 1_000)[:EXCERPT_LENGTH_MAX]


async def test_an_endless_body_is_cut_off(plain: HttpPoster, network: Switchboard) -> None:
    """We read 64 KiB and hang up; the status stands."""
    written = 0
    hung_up = asyncio.Event()

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 500 No\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 8_192)
                await writer.drain()
                written += 8_192
        except ConnectionError:
            hung_up.set()

    async with listening(Receiver(flood)) as network.servers[PUBLIC_ADDRESS]:
        result = await post(plain, f"http://{HOST}/", {}, b"{}")
        await asyncio.wait_for(hung_up.wait(), 5)
    assert result == PostResult(500, "http_500", None, "x" * EXCERPT_LENGTH_MAX)
    assert written >= ANSWER_BYTES_MAX


async def test_a_dripping_head_meets_the_deadline(impatient: HttpPoster, network: Switchboard) -> None:
    """One byte at a time beats a time-out per read, but not a deadline for all."""

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * round(HEAD_TAKES_S / 0.02):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    loop = asyncio.get_running_loop()
    started_s = loop.time()
    async with listening(Receiver(drip)) as network.servers[PUBLIC_ADDRESS]:
        result = await post(impatient, f"http://{HOST}/", {}, b"{}")
    assert result == PostResult(None, "timeout", None, "")
    assert loop.time() - started_s < HEAD_TAKES_S / 2


async def test_a_dripping_body_does_not_undo_the_status(impatient: HttpPoster, network: Switchboard) -> None:
    """The receiver has said 200: it is delivered, and we stop reading at the deadline."""

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(1_000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with listening(Receiver(drip)) as network.servers[PUBLIC_ADDRESS]:
        result = await post(impatient, f"http://{HOST}/", {}, b"{}")
    assert result.status == 200
    assert result.excerpt.startswith("xx")


async def test_a_body_that_breaks_off_leaves_the_status(plain: HttpPoster, network: Switchboard) -> None:
    """A promised length that is not kept is the receiver's affair."""
    answer = b"HTTP/1.1 204 Fine\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf"
    for text in answer:
        async with listening(Receiver(text)) as network.servers[PUBLIC_ADDRESS]:
            assert (await post(plain, f"http://{HOST}/", {}, b"{}")).reason.startswith("http_20")


@pytest.mark.parametrize("answer", [b"", b"\x00\x01\x02\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n"])
async def test_garbage_is_a_protocol_error(plain: HttpPoster, network: Switchboard, answer: bytes) -> None:
    """Whatever is not HTTP is no answer."""
    async with listening(Receiver(answer)) as network.servers[PUBLIC_ADDRESS]:
        result = await post(plain, f"http://{HOST}/", {}, b"{}")
    assert result == PostResult(None, "protocol_error", None, "")


async def test_an_endless_head_is_a_protocol_error(plain: HttpPoster, network: Switchboard) -> None:
    """A head has a limit too."""
    async with listening(Receiver(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000)) as network.servers[
        PUBLIC_ADDRESS
    ]:
        assert (await post(plain, f"http://{HOST}/", {}, b"{}")).reason == "protocol_error"


async def test_the_next_address_is_tried_when_one_is_dead(network: Switchboard) -> None:
    """A name whose first address is down is reached by its second; both were judged."""
    addresses = [OTHER_PUBLIC_ADDRESS, PUBLIC_ADDRESS]
    poster = HttpPoster(Policy(allow_private=True), "1", resolver=resolving_to(addresses), network=network)
    async with listening(Receiver(OK)) as network.servers[PUBLIC_ADDRESS]:
        assert (await post(poster, f"http://{HOST}/", {}, b"{}")).status == 200
    assert network.dialled == addresses


class DeadAddresses(Switchboard):
    """Connections to addresses where nobody answers never stand; who waited for one is noted."""

    async def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        if host not in self.servers:
            self.dialled.append(host)
            await asyncio.Event().wait()
        return await super().connect_tcp(host, *args, **kwargs)


async def test_dead_addresses_cost_a_moment_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three that never answer before the one that does: the webhook arrives within its deadline."""
    monkeypatch.setattr("adapters.poster.STAGGER_S", 0.01)
    network, dead = DeadAddresses(), ["93.184.215.1", "93.184.215.2", "93.184.215.3"]
    addresses = [*dead, PUBLIC_ADDRESS]
    poster = HttpPoster(Policy(allow_private=True), "1", resolver=resolving_to(addresses), network=network)
    async with listening(Receiver(OK)) as port:
        network.servers[PUBLIC_ADDRESS] = port
        assert (await post(poster, f"http://{HOST}/", {}, b"{}")).status == 200
    assert network.dialled == addresses


async def test_one_webhook_goes_to_one_address() -> None:
    """Two connections that stand at once: one request, and the other connection is closed."""
    network, receivers = Switchboard(), [Receiver(OK), Receiver(OK)]
    addresses = [PUBLIC_ADDRESS, OTHER_PUBLIC_ADDRESS]
    poster = HttpPoster(Policy(allow_private=True), "1", resolver=resolving_to(addresses), network=network)
    async with listening(receivers[0]) as first, listening(receivers[1]) as second:
        network.servers |= {PUBLIC_ADDRESS: first, OTHER_PUBLIC_ADDRESS: second}
        assert (await post(poster, f"http://{HOST}/", {}, b"{}")).status == 200
    assert [len(receiver.requests) for receiver in receivers] == [1, 0]


def test_both_kinds_of_address_are_tried_in_turn() -> None:
    """A host whose IPv6 is broken altogether is reached at the second attempt."""
    assert in_turn(["2::1", "2::2", "1.1.1.1", "1.1.1.2"]) == ["2::1", "1.1.1.1", "2::2", "1.1.1.2"]
    assert in_turn(["1.1.1.1", "2::1", "2::2"]) == ["1.1.1.1", "2::1", "2::2"]
    assert in_turn(["1.1.1.1"]) == ["1.1.1.1"]


async def test_nobody_there(plain: HttpPoster) -> None:
    """A refused connection says so."""
    assert (await post(plain, f"http://{HOST}/", {}, b"{}")).reason == "connect_refused"


async def test_no_such_name(network: Switchboard) -> None:
    """A name that does not resolve, or resolves to nothing, is a DNS failure."""
    for resolver in (unresolvable, resolving_to([])):
        poster = HttpPoster(Policy(), "1", resolver=resolver, network=network)
        assert (await post(poster, f"https://{HOST}/", {}, b"{}")).reason == "dns_failure"


async def test_a_resolver_that_hangs_is_given_up(network: Switchboard) -> None:
    """It has a limit of its own: a name that can't be resolved has no address."""

    async def hang(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    poster = HttpPoster(Policy(), "1", resolve_limit_s=0.05, resolver=hang, network=network)
    assert (await post(poster, f"https://{HOST}/", {}, b"{}")).reason == "dns_failure"


async def test_the_systems_resolver_gives_each_address_once() -> None:
    """`getaddrinfo` is asked for streams only, and `localhost` needs no network."""
    addresses = await ThreadResolver()("localhost", 443)
    assert LOOPBACK in addresses
    assert len(addresses) == len(set(addresses))


async def test_the_defaults_check_certificates(authority: Authority) -> None:
    """The production trust store knows public authorities, and not the test's."""
    poster = HttpPoster(Policy(allow_private=True), "1", deadline_s=5)
    async with listening(Receiver(OK), authority.server_context("localhost")) as port:
        assert (await post(poster, f"https://localhost:{port}/", {}, b"{}")).reason == "tls_failure"


async def test_the_defaults_refuse_a_name_that_resolves_to_loopback() -> None:
    """As wired in production: the real resolver, the real network, the real trust store."""
    poster = HttpPoster(Policy(allow_private=True), "1", deadline_s=DEADLINE_S)
    receiver = Receiver(OK)
    async with listening(receiver) as port:
        assert (await post(poster, f"http://localhost:{port}/", {}, b"{}")).status == 200
        strict = HttpPoster(Policy(ports=frozenset({port})), "1")
        assert (await post(strict, f"https://localhost:{port}/", {}, b"{}")).reason == "egress_deny_loopback"
    assert len(receiver.requests) == 1
