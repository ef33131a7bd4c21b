"""Decides whether a webhook may be sent to a URL or an address; the same on every version of Python.

`ipaddress.is_global` can't be used: it differs between Python versions, and some of them allow NAT64, 6to4
and multicast. So the special ranges are listed here, from the IANA registries
(iana-ipv4-special-registry, iana-ipv6-special-registry), and IPv6 is refused outside `2000::/3`.
Names are not resolved here: the sender judges every address of a name, and connects only to those.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

URL_LENGTH_MAX = 1_024
HOST_LENGTH_MAX = 253
PORT_MAX = 65_535
DEFAULT_PORTS = {"https": 443, "http": 80}

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Verdict(StrEnum):
    """Allowed, or the reason why not. `expected` says in words what is expected of a webhook URL."""

    ALLOW = auto()
    DENY_URL_LENGTH = auto()
    DENY_URL_SYNTAX = auto()
    DENY_SCHEME = auto()
    DENY_CREDENTIALS = auto()
    DENY_HOST_SYNTAX = auto()
    DENY_PORT = auto()
    DENY_OWN_HOST = auto()
    DENY_DENIED_HOST = auto()
    DENY_UNLISTED_HOST = auto()
    DENY_UNSPECIFIED = auto()
    DENY_LOOPBACK = auto()
    DENY_PRIVATE = auto()
    DENY_LINK_LOCAL = auto()
    DENY_METADATA = auto()
    DENY_MULTICAST = auto()
    DENY_RESERVED = auto()
    DENY_EMBEDDED = auto()

    @property
    def expected(self) -> str:
        """Return what is expected, in words for the caller whose URL was refused."""
        return EXPECTED.get(
            self, "" if self is Verdict.ALLOW else "must not name an address of a special range"
        )


EXPECTED = {
    Verdict.ALLOW: "",
    Verdict.DENY_URL_LENGTH: f"must have at most {URL_LENGTH_MAX} characters",
    Verdict.DENY_URL_SYNTAX: "must be an absolute URL of printable ASCII characters; other characters only "
    "in the host name, or percent-encoded",
    Verdict.DENY_SCHEME: "must start with https://",
    Verdict.DENY_CREDENTIALS: "must not have a user name or password",
    Verdict.DENY_HOST_SYNTAX: "must name its host by a DNS name, four decimal parts of an IPv4 address, "
    "or an IPv6 address in brackets; an international name must follow IDNA 2008, which has no emoji",
    Verdict.DENY_PORT: "must use a port that is allowed here, 443 by default",
    Verdict.DENY_OWN_HOST: "must not name the signing API or this service",
    Verdict.DENY_DENIED_HOST: "must not name a host that this service's operator has excluded",
    Verdict.DENY_UNLISTED_HOST: "must name a host that this service's operator has listed",
    Verdict.DENY_LOOPBACK: "must not name this machine (localhost or a loopback address)",
    Verdict.DENY_PRIVATE: "must not name a private address",
}

# The verdicts that `allow_private` lifts; metadata, link-local and the others stay.
PRIVATE_VERDICTS = frozenset({Verdict.DENY_LOOPBACK, Verdict.DENY_PRIVATE})


def _networks(*rows: tuple[Verdict, str]) -> tuple[tuple[Network, Verdict], ...]:
    return tuple((ip_network(network), verdict) for verdict, text in rows for network in text.split())


# The first match wins, so the narrower range comes first.
SPECIAL_IPV4 = _networks(
    # AWS (and most clouds), ECS tasks, EKS pods, Alibaba, Azure, Oracle.
    (Verdict.DENY_METADATA, "169.254.169.254 169.254.170.2 169.254.170.23"),
    (Verdict.DENY_METADATA, "100.100.100.200 168.63.129.16 192.0.0.192"),
    (Verdict.DENY_UNSPECIFIED, "0.0.0.0/8"),
    (Verdict.DENY_LOOPBACK, "127.0.0.0/8"),
    (Verdict.DENY_LINK_LOCAL, "169.254.0.0/16"),
    (Verdict.DENY_PRIVATE, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16"),
    (Verdict.DENY_PRIVATE, "100.64.0.0/10"),  # shared by carriers and by clouds' own services
    (Verdict.DENY_RESERVED, "192.0.0.0/24"),  # IETF protocol assignments
    (Verdict.DENY_RESERVED, "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24"),  # documentation
    (Verdict.DENY_RESERVED, "192.31.196.0/24 192.175.48.0/24"),  # AS112
    (Verdict.DENY_RESERVED, "192.52.193.0/24"),  # multicast tunnels (AMT)
    (Verdict.DENY_RESERVED, "192.88.99.0/24"),  # 6to4 relays, deprecated
    (Verdict.DENY_RESERVED, "198.18.0.0/15"),  # benchmarking
    (Verdict.DENY_MULTICAST, "224.0.0.0/4"),
    (Verdict.DENY_RESERVED, "240.0.0.0/4"),  # future use, and broadcast
)
SPECIAL_IPV6 = _networks(
    (Verdict.DENY_METADATA, "fd00:ec2::254 fd00:ec2::23 fd20:ce::254"),  # AWS, EKS pods, Google
    (Verdict.DENY_UNSPECIFIED, "::"),
    (Verdict.DENY_LOOPBACK, "::1"),
    (Verdict.DENY_EMBEDDED, "::/96"),  # IPv4-compatible, deprecated
    (Verdict.DENY_EMBEDDED, "::ffff:0:0:0/96"),  # IPv4-translated
    (Verdict.DENY_EMBEDDED, "64:ff9b:1::/48"),  # local-use NAT64: each network places IPv4 differently
    (Verdict.DENY_EMBEDDED, "2002::/16"),  # 6to4
    (Verdict.DENY_EMBEDDED, "2001::/32"),  # Teredo
    (Verdict.DENY_PRIVATE, "fc00::/7"),
    (Verdict.DENY_LINK_LOCAL, "fe80::/10"),
    (Verdict.DENY_PRIVATE, "fec0::/10"),  # site-local, deprecated
    (Verdict.DENY_MULTICAST, "ff00::/8"),
    (Verdict.DENY_RESERVED, "2001::/23"),  # IETF protocol assignments
    (Verdict.DENY_RESERVED, "2001:db8::/32 3fff::/20"),  # documentation
    (Verdict.DENY_RESERVED, "2620:4f:8000::/48"),  # AS112
)
GLOBAL_UNICAST_IPV6 = IPv6Network("2000::/3")
LOOPBACK_ADDRESS = "127.0.0.1"
NAT64 = IPv6Network("64:ff9b::/96")
# ISATAP may have any prefix: its interface identifier is 0000:5efe or 0200:5efe, then an IPv4 address.
ISATAP_IDENTIFIERS = frozenset({0x0000_5EFE, 0x0200_5EFE})


@dataclass(frozen=True, slots=True)
class Policy:
    """Which hosts webhooks may be sent to.

    A host entry is a name, a literal address, or `*.name` for every name below it. A non-empty `allow_hosts`
    is exhaustive; `deny_hosts` wins. Neither opens a special range: only `allow_private` does (private and
    loopback), and with it http and every port.
    """

    ports: frozenset[int] = frozenset({443, 8443})
    allow_hosts: frozenset[str] = frozenset()
    deny_hosts: frozenset[str] = frozenset()
    allow_private: bool = False
    own: frozenset[tuple[str, int]] = frozenset()
    """Host and port of the upstream and of this service; `allow_private` opens their other ports."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "allow_hosts", frozenset(map(_host_pattern, self.allow_hosts)))
        object.__setattr__(self, "deny_hosts", frozenset(map(_host_pattern, self.deny_hosts)))


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be called, before its name is resolved."""

    scheme: str
    host: str
    """A lower-case ASCII name, or a literal address without brackets."""
    port: int
    path_and_query: str
    address: str | None
    """The host again if it is a literal address: then there is nothing to resolve."""

    @property
    def authority(self) -> str:
        """The `Host` header: brackets round IPv6, the port unless it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def with_own(policy: Policy, *urls: str) -> Policy:
    """Return the policy that also refuses webhooks to these hosts, which are the service's own."""
    targets = [parse_url(url) for url in urls]
    own = {(target.host, target.port) for target in targets if isinstance(target, Target)}
    return replace(policy, own=policy.own | own)


def classify_address(address: str, policy: Policy) -> Verdict:
    """Judge one literal or resolved address."""
    parsed = _parse_address(address)
    if parsed is None:
        return Verdict.DENY_HOST_SYNTAX
    return _judge(parsed, policy)


def classify_url(url: str, policy: Policy) -> Target | Verdict:
    """Judge a URL before its name is resolved: return a target, or the reason why not."""
    if len(url) > URL_LENGTH_MAX:
        return Verdict.DENY_URL_LENGTH
    target = parse_url(url)
    if isinstance(target, Verdict):
        return target
    verdict = _judge_target(target, policy)
    return target if verdict is Verdict.ALLOW else verdict


def parse_url(url: str) -> Target | Verdict:
    """Parse a URL; a verdict says why it can't be called."""
    parts = _URL.fullmatch(url)
    if parts is None:
        return Verdict.DENY_URL_SYNTAX
    scheme, authority, rest = parts["scheme"].lower(), parts["authority"], parts["rest"]
    if scheme not in DEFAULT_PORTS:
        return Verdict.DENY_SCHEME
    if "@" in authority:
        return Verdict.DENY_CREDENTIALS
    host_and_port = _AUTHORITY.fullmatch(authority)
    host = _parse_host(host_and_port["host"]) if host_and_port else None
    if host_and_port is None or host is None:
        return Verdict.DENY_HOST_SYNTAX
    return Target(
        scheme=scheme,
        host=str(host),
        port=int(host_and_port["port"] or DEFAULT_PORTS[scheme]),
        path_and_query=rest if rest.startswith("/") else f"/{rest}",
        address=None if isinstance(host, str) else str(host),
    )


def _judge_target(target: Target, policy: Policy) -> Verdict:
    if target.scheme != "https" and not policy.allow_private:
        return Verdict.DENY_SCHEME
    if not (0 < target.port <= PORT_MAX and (policy.allow_private or target.port in policy.ports)):
        return Verdict.DENY_PORT
    if _is_own(target, policy):
        return Verdict.DENY_OWN_HOST
    if _is_listed(target.host, policy.deny_hosts):
        return Verdict.DENY_DENIED_HOST
    if policy.allow_hosts and not _is_listed(target.host, policy.allow_hosts):
        return Verdict.DENY_UNLISTED_HOST
    # `localhost` and all below it are loopback by definition (RFC 6761), like a literal.
    is_localhost = f".{target.host}".endswith(".localhost")
    address = LOOPBACK_ADDRESS if is_localhost else target.address
    return classify_address(address, policy) if address else Verdict.ALLOW


def _is_own(target: Target, policy: Policy) -> bool:
    if policy.allow_private:  # a stack on one machine: its receivers differ by the port alone
        return (target.host, target.port) in policy.own
    return any(target.host == host for host, _ in policy.own)


def _judge(address: Address, policy: Policy) -> Verdict:
    if str(address) in policy.deny_hosts:
        return Verdict.DENY_DENIED_HOST
    if isinstance(address, IPv6Address) and address in NAT64:
        return _judge(_last_32_bits(address), policy)
    verdict = _range_verdict(address)
    return Verdict.ALLOW if policy.allow_private and verdict in PRIVATE_VERDICTS else verdict


def _range_verdict(address: Address) -> Verdict:
    ranges = SPECIAL_IPV4 if isinstance(address, IPv4Address) else SPECIAL_IPV6
    for network, verdict in ranges:
        if address in network:
            return verdict
    return Verdict.ALLOW if isinstance(address, IPv4Address) else _unlisted_ipv6_verdict(address)


def _unlisted_ipv6_verdict(address: IPv6Address) -> Verdict:
    if (int(address) >> 32) & 0xFFFF_FFFF in ISATAP_IDENTIFIERS:
        return Verdict.DENY_EMBEDDED
    return Verdict.ALLOW if address in GLOBAL_UNICAST_IPV6 else Verdict.DENY_RESERVED


def _last_32_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)


# Printable ASCII except the backslash, which some parsers read as a slash; more only in the host (IDN).
_URL = re.compile(
    r"""(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*)://
        (?P<authority>(?:(?![/?\#\\])[!-~\u0080-\U0010ffff])+)
        (?P<rest>(?:[/?](?:(?![\#\\])[!-~])*)?)
        (?:\#[!-~]*)?""",
    re.VERBOSE,
)
_AUTHORITY = re.compile(
    r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?"
)  # an empty port is the scheme's own (RFC 3986)
_DOTTED_QUAD = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
# RFC 952 has no underscores in host names, but DNS names and the services of compose files may have them.
_LABEL = r"[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def _parse_host(text: str) -> str | Address | None:
    """Return a strict address or a name in ASCII; None for every other spelling."""
    if text.startswith("["):
        inner = text[1:-1]
        return _parse_address(inner) if ":" in inner else None
    if _DOTTED_QUAD.fullmatch(text):
        return _parse_address(text)
    name = _ascii_name(text)
    if name is None or len(name) > HOST_LENGTH_MAX or not _NAME.fullmatch(name):
        return None
    # Resolvers read `0x7f.1` and `2130706433` as addresses, so a name's last label must not be a number.
    return None if _NUMBER.fullmatch(name.rpartition(".")[2]) else name


def _parse_address(text: str) -> Address | None:
    if not _IPV6.fullmatch(text):
        return None  # a zone, or digits that are not ASCII
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # Unwrapped at once: an IPv4-mapped address is that IPv4 address, and Pythons print it differently.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _ascii_name(text: str) -> str | None:
    if text.isascii():
        return text.lower()
    import idna  # noqa: PLC0415 - its tables are slow to load, and most names are ASCII

    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError:
        return None


def _host_pattern(entry: str) -> str:
    wildcard = "*." if entry.startswith("*.") else ""
    host = _parse_host(entry.removeprefix("*.")) or _parse_address(entry)
    if host is None or (wildcard and not isinstance(host, str)):
        raise ValueError(f"not a host name, *.name or address: {entry!r}")
    return f"{wildcard}{host}"


def _is_listed(host: str, patterns: frozenset[str]) -> bool:
    labels = host.split(".")
    parents = {"*." + ".".join(labels[start:]) for start in range(1, len(labels))}
    return host in patterns or not parents.isdisjoint(patterns)
