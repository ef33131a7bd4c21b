"""May we call this address? One table, the same on every Python."""

import subprocess
import sys
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.egress import HOST_LENGTH_MAX, SPECIAL_IPV4, URL_LENGTH_MAX, Policy, Target, Verdict, with_own
from core.egress import classify_address as judge_address
from core.egress import classify_url as judge_url

PUBLIC = Policy()
LOCAL = Policy(allow_private=True)


def rows(verdict: Verdict, *addresses: str) -> Iterable[tuple[str, Verdict]]:
    return ((address, verdict) for address in addresses)


ADDRESSES = [
    # The first and the last address of every special range, and their neighbours outside it.
    *rows(Verdict.DENY_UNSPECIFIED, "0.0.0.0", "0.255.255.255", "::"),
    *rows(Verdict.ALLOW, "1.0.0.0", "9.255.255.255", "11.0.0.0"),
    *rows(Verdict.DENY_PRIVATE, "10.0.0.0", "10.255.255.255"),
    *rows(Verdict.ALLOW, "100.63.255.255", "100.128.0.0"),
    *rows(Verdict.DENY_PRIVATE, "100.64.0.0", "100.127.255.255"),
    *rows(Verdict.ALLOW, "126.255.255.255", "128.0.0.0"),
    *rows(Verdict.DENY_LOOPBACK, "127.0.0.0", "127.0.0.1", "127.255.255.255", "::1"),
    *rows(Verdict.ALLOW, "169.253.255.255", "169.255.0.0"),
    *rows(Verdict.DENY_LINK_LOCAL, "169.254.0.0", "169.254.255.255"),
    *rows(Verdict.DENY_METADATA, "169.254.169.254", "169.254.170.2", "169.254.170.23"),
    *rows(Verdict.DENY_METADATA, "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *rows(Verdict.ALLOW, "168.63.129.15", "168.63.129.17"),
    *rows(Verdict.ALLOW, "172.15.255.255", "172.32.0.0"),
    *rows(Verdict.DENY_PRIVATE, "172.16.0.0", "172.31.255.255"),
    *rows(Verdict.ALLOW, "191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0"),
    *rows(Verdict.DENY_RESERVED, "192.0.0.0", "192.0.0.255", "192.0.2.0", "192.0.2.255"),
    *rows(Verdict.ALLOW, "192.31.195.255", "192.31.197.0", "192.52.192.255", "192.52.194.0"),
    *rows(Verdict.DENY_RESERVED, "192.31.196.0", "192.31.196.255", "192.52.193.0", "192.52.193.255"),
    *rows(Verdict.ALLOW, "192.88.98.255", "192.88.100.0", "192.175.47.255", "192.175.49.0"),
    *rows(Verdict.DENY_RESERVED, "192.88.99.0", "192.88.99.255", "192.175.48.0", "192.175.48.255"),
    *rows(Verdict.ALLOW, "192.167.255.255", "192.169.0.0"),
    *rows(Verdict.DENY_PRIVATE, "192.168.0.0", "192.168.255.255"),
    *rows(Verdict.ALLOW, "198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0"),
    *rows(Verdict.DENY_RESERVED, "198.18.0.0", "198.19.255.255", "198.51.100.0", "198.51.100.255"),
    *rows(Verdict.ALLOW, "203.0.112.255", "203.0.114.0", "223.255.255.255"),
    *rows(Verdict.DENY_RESERVED, "203.0.113.0", "203.0.113.255"),
    *rows(Verdict.DENY_MULTICAST, "224.0.0.0", "239.255.255.255"),
    *rows(Verdict.DENY_RESERVED, "240.0.0.0", "255.255.255.255"),
    *rows(Verdict.ALLOW, "2000::", "2001:200::", "2606:4700:4700::1111", "3ffe:ffff::"),
    *rows(Verdict.DENY_RESERVED, "1fff:ffff::1", "4000::", "5f00::1", "100::1", "100:0:0:1::1"),
    *rows(Verdict.DENY_RESERVED, "2001:1::1", "2001:2::1", "2001:20::1", "2001:1ff:ffff::"),
    *rows(Verdict.DENY_RESERVED, "2001:db8::", "2001:db8:ffff::1", "3fff::", "3fff:fff::1"),
    *rows(Verdict.ALLOW, "2001:db7:ffff::1", "2001:db9::", "3fff:1000::"),
    *rows(Verdict.DENY_RESERVED, "2620:4f:8000::1"),
    *rows(Verdict.ALLOW, "2620:4f:7fff::1", "2620:4f:8001::1"),
    *rows(Verdict.DENY_PRIVATE, "fc00::", "fdff:ffff::1", "fec0::", "feff::1"),
    *rows(Verdict.DENY_RESERVED, "fbff::1", "fe00::", "fe7f::1"),
    *rows(Verdict.DENY_METADATA, "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    *rows(Verdict.DENY_LINK_LOCAL, "fe80::", "fe80::1", "febf::1"),
    *rows(Verdict.DENY_MULTICAST, "ff00::", "ff02::1", "ffff:ffff::"),
    # IPv4 inside IPv6: unwrapped where it is in use, refused where it is not.
    *rows(Verdict.ALLOW, "::ffff:8.8.8.8", "::ffff:808:808", "64:ff9b::808:808", "64:ff9b::8.8.8.8"),
    *rows(Verdict.DENY_LOOPBACK, "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1"),
    *rows(Verdict.DENY_PRIVATE, "::ffff:10.0.0.1", "64:ff9b::a00:1"),
    *rows(Verdict.DENY_METADATA, "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe"),
    *rows(Verdict.DENY_EMBEDDED, "::127.0.0.1", "::7f00:1", "::8.8.8.8", "::2"),
    *rows(Verdict.DENY_EMBEDDED, "::ffff:0:7f00:1", "::ffff:0:808:808"),
    *rows(Verdict.DENY_EMBEDDED, "64:ff9b:1::1", "64:ff9b:1:ffff::7f00:1"),
    *rows(Verdict.DENY_RESERVED, "64:ff9a::1", "64:ff9b:2::1", "64:ff9b::1:0:0"),
    *rows(Verdict.DENY_EMBEDDED, "2002::", "2002:7f00:1::", "2002:808:808::1", "2002:ffff:ffff::1"),
    *rows(Verdict.ALLOW, "2003::1"),
    *rows(Verdict.DENY_EMBEDDED, "2001::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    *rows(Verdict.DENY_EMBEDDED, "2606:4700::5efe:7f00:1", "2606:4700::200:5efe:10.0.0.1"),
    # Anything but a plain address is none.
    *rows(Verdict.DENY_HOST_SYNTAX, "", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.01"),
    *rows(Verdict.DENY_HOST_SYNTAX, "fe80::1%eth0", "[::1]", " 127.0.0.1", "127.0.0.1\n", "localhost"),
    *rows(Verdict.DENY_HOST_SYNTAX, "１２７.0.0.1", "1.2.3.4/32", "256.0.0.1", ":::1", "1::2::3"),  # noqa: RUF001
]

URLS = [
    # Scheme and port.
    ("http://example.com/", Verdict.DENY_SCHEME),
    ("ftp://example.com/", Verdict.DENY_SCHEME),
    ("file:///etc/passwd", Verdict.DENY_URL_SYNTAX),
    ("gopher://127.0.0.1:443/", Verdict.DENY_SCHEME),
    ("//example.com/", Verdict.DENY_URL_SYNTAX),
    ("https:example.com", Verdict.DENY_URL_SYNTAX),
    ("https:/example.com", Verdict.DENY_URL_SYNTAX),
    ("https:///example.com", Verdict.DENY_URL_SYNTAX),
    ("https://", Verdict.DENY_URL_SYNTAX),
    ("", Verdict.DENY_URL_SYNTAX),
    ("https://example.com:80/", Verdict.DENY_PORT),
    ("https://example.com:0/", Verdict.DENY_PORT),
    ("https://example.com:22/", Verdict.DENY_PORT),
    ("https://example.com:65536/", Verdict.DENY_PORT),
    ("https://example.com:443:443/", Verdict.DENY_HOST_SYNTAX),
    ("https://example.com:-1/", Verdict.DENY_HOST_SYNTAX),
    ("https://example.com:４４３/", Verdict.DENY_HOST_SYNTAX),  # noqa: RUF001
    # Credentials, and the tricks that hide a host behind them.
    ("https://user:password@example.com/", Verdict.DENY_CREDENTIALS),
    ("https://user@example.com/", Verdict.DENY_CREDENTIALS),
    ("https://@example.com/", Verdict.DENY_CREDENTIALS),
    ("https://example.com:443@169.254.169.254/", Verdict.DENY_CREDENTIALS),
    ("https://example.com\\@169.254.169.254/", Verdict.DENY_URL_SYNTAX),
    ("https://example.com\\.evil.test/", Verdict.DENY_URL_SYNTAX),
    ("https:\\\\example.com/", Verdict.DENY_URL_SYNTAX),
    ("https://example.com＠169.254.169.254/", Verdict.DENY_HOST_SYNTAX),  # noqa: RUF001
    ("https://example.com%40169.254.169.254/", Verdict.DENY_HOST_SYNTAX),
    # Whitespace, control characters, and what is not ASCII outside the host.
    (" https://example.com/", Verdict.DENY_URL_SYNTAX),
    ("https://example.com/ ", Verdict.DENY_URL_SYNTAX),
    ("https://exa\tmple.com/", Verdict.DENY_URL_SYNTAX),
    ("https://example.com/\r\nHost: evil.test", Verdict.DENY_URL_SYNTAX),
    ("https://example.com/\n", Verdict.DENY_URL_SYNTAX),
    ("https://example.com/\x00", Verdict.DENY_URL_SYNTAX),
    ("https://example.com/\x7f", Verdict.DENY_URL_SYNTAX),
    ("https://example.com/é", Verdict.DENY_URL_SYNTAX),
    ("https://exam\u00a0ple.com/", Verdict.DENY_HOST_SYNTAX),
    ("https://exam\u2028ple.com/", Verdict.DENY_HOST_SYNTAX),
    ("https://\u202eexample.com/", Verdict.DENY_HOST_SYNTAX),
    # IPv4 in other clothes: decimal, octal, hexadecimal, short, long, Unicode, encoded.
    ("https://2130706433/", Verdict.DENY_HOST_SYNTAX),
    ("https://017700000001/", Verdict.DENY_HOST_SYNTAX),
    ("https://0x7f000001/", Verdict.DENY_HOST_SYNTAX),
    ("https://0x7f.1/", Verdict.DENY_HOST_SYNTAX),
    ("https://0x7F.0x0.0x0.0x1/", Verdict.DENY_HOST_SYNTAX),
    ("https://0177.0.0.1/", Verdict.DENY_HOST_SYNTAX),
    ("https://127.0.0.01/", Verdict.DENY_HOST_SYNTAX),
    ("https://127.1/", Verdict.DENY_HOST_SYNTAX),
    ("https://127.0.1/", Verdict.DENY_HOST_SYNTAX),
    ("https://127.0.0.1.1/", Verdict.DENY_HOST_SYNTAX),
    ("https://127.0.0.1./", Verdict.DENY_HOST_SYNTAX),
    ("https://256.256.256.256/", Verdict.DENY_HOST_SYNTAX),
    ("https://example.0x/", Verdict.DENY_HOST_SYNTAX),
    ("https://１２７.０.０.１/", Verdict.DENY_HOST_SYNTAX),  # noqa: RUF001
    ("https://127。0。0。1/", Verdict.DENY_HOST_SYNTAX),
    ("https://①②⑦.0.0.1/", Verdict.DENY_HOST_SYNTAX),
    ("https://١٢٧.0.0.1/", Verdict.DENY_HOST_SYNTAX),
    ("https://%31%32%37.0.0.1/", Verdict.DENY_HOST_SYNTAX),
    ("https://127.0.0.1/", Verdict.DENY_LOOPBACK),
    ("https://169.254.169.254/latest/meta-data/", Verdict.DENY_METADATA),
    ("https://10.1.2.3:8443/", Verdict.DENY_PRIVATE),
    ("https://0.0.0.0/", Verdict.DENY_UNSPECIFIED),
    # IPv6 literals.
    ("https://[::1]/", Verdict.DENY_LOOPBACK),
    ("https://[0:0:0:0:0:0:0:1]/", Verdict.DENY_LOOPBACK),
    ("https://[::]/", Verdict.DENY_UNSPECIFIED),
    ("https://[::ffff:169.254.169.254]/", Verdict.DENY_METADATA),
    ("https://[::FFFF:7F00:1]:8443/", Verdict.DENY_LOOPBACK),
    ("https://[fe80::1]/", Verdict.DENY_LINK_LOCAL),
    ("https://[fe80::1%25eth0]/", Verdict.DENY_HOST_SYNTAX),
    ("https://[fe80::1%eth0]/", Verdict.DENY_HOST_SYNTAX),
    ("https://[2606:4700::1%251]/", Verdict.DENY_HOST_SYNTAX),
    ("https://[127.0.0.1]/", Verdict.DENY_HOST_SYNTAX),
    ("https://[example.com]/", Verdict.DENY_HOST_SYNTAX),
    ("https://[v1.example]/", Verdict.DENY_HOST_SYNTAX),
    ("https://[::1/", Verdict.DENY_HOST_SYNTAX),
    ("https://::1/", Verdict.DENY_HOST_SYNTAX),
    ("https://[::1]example.com/", Verdict.DENY_HOST_SYNTAX),
    ("https://[]/", Verdict.DENY_HOST_SYNTAX),
    # Names that are none, and those that mean this host.
    ("https://example.com./", Verdict.DENY_HOST_SYNTAX),
    ("https://.example.com/", Verdict.DENY_HOST_SYNTAX),
    ("https://example..com/", Verdict.DENY_HOST_SYNTAX),
    ("https://-example.com/", Verdict.DENY_HOST_SYNTAX),
    ("https://example-.com/", Verdict.DENY_HOST_SYNTAX),
    ("https://*.example.com/", Verdict.DENY_HOST_SYNTAX),
    ("https://example.com,evil.test/", Verdict.DENY_HOST_SYNTAX),
    (f"https://{'a' * 64}.com/", Verdict.DENY_HOST_SYNTAX),
    (f"https://{'é' * 64}.com/", Verdict.DENY_HOST_SYNTAX),
    ("https://:443/", Verdict.DENY_HOST_SYNTAX),
    ("https://localhost/", Verdict.DENY_LOOPBACK),
    ("https://LOCALHOST/", Verdict.DENY_LOOPBACK),
    ("https://ⓛocalhost/", Verdict.DENY_LOOPBACK),
    ("https://api.localhost/", Verdict.DENY_LOOPBACK),
]

TARGETS = [
    ("https://example.com", Target("https", "example.com", 443, "/", None)),
    ("HTTPS://EXAMPLE.com:443/Path?a=%20#part", Target("https", "example.com", 443, "/Path?a=%20", None)),
    ("https://example.com?a=1", Target("https", "example.com", 443, "/?a=1", None)),
    ("https://example.com:08443//x/../y", Target("https", "example.com", 8443, "//x/../y", None)),
    ("https://example.com/@user:x", Target("https", "example.com", 443, "/@user:x", None)),
    ("https://example.com:/a", Target("https", "example.com", 443, "/a", None)),
    ("https://my_service.internal_net/", Target("https", "my_service.internal_net", 443, "/", None)),
    ("https://notlocalhost/", Target("https", "notlocalhost", 443, "/", None)),
    ("https://1.example2/", Target("https", "1.example2", 443, "/", None)),
    ("https://8.8.8.8/", Target("https", "8.8.8.8", 443, "/", "8.8.8.8")),
    ("https://[::ffff:8.8.8.8]/", Target("https", "8.8.8.8", 443, "/", "8.8.8.8")),
    (
        "https://[2606:4700:0:0::1111]:8443/",
        Target("https", "2606:4700::1111", 8443, "/", "2606:4700::1111"),
    ),
    ("https://bücher.example/", Target("https", "xn--bcher-kva.example", 443, "/", None)),
    ("https://faß.de/", Target("https", "xn--fa-hia.de", 443, "/", None)),
    ("https://ｅｘａｍｐｌｅ。com/", Target("https", "example.com", 443, "/", None)),  # noqa: RUF001
    ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/", None)),
]


@pytest.mark.parametrize(("address", "verdict"), ADDRESSES)
def test_an_address_is_judged_by_its_range(address: str, verdict: Verdict) -> None:
    """Every special range is refused to its last address, and nothing beyond it."""
    assert verdict == judge_address(address, PUBLIC)


@pytest.mark.parametrize(("url", "verdict"), URLS)
def test_an_odd_url_is_refused_with_its_reason(url: str, verdict: Verdict) -> None:
    """A URL that two parsers could read differently is refused, never repaired."""
    assert verdict == judge_url(url, PUBLIC)


@pytest.mark.parametrize(("url", "target"), TARGETS)
def test_a_good_url_is_normalised(url: str, target: Target) -> None:
    """What is connected to is what was judged: one host, one port, one path."""
    assert target == judge_url(url, PUBLIC)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://example.com:443/", "example.com"),
        ("https://example.com:8443/", "example.com:8443"),
        ("https://[2606:4700::1]/", "[2606:4700::1]"),
        ("http://example.com:80/", "example.com"),
        ("http://example.com:443/", "example.com:443"),
    ],
)
def test_the_host_header_names_only_an_unusual_port(url: str, authority: str) -> None:
    """The `Host` header is written as a browser would write it."""
    target = judge_url(url, LOCAL)
    assert isinstance(target, Target)
    assert authority == target.authority


def test_a_url_has_a_length_limit() -> None:
    """1,024 characters are taken, one more is refused."""
    longest = "https://example.com/".ljust(URL_LENGTH_MAX, "a")
    assert isinstance(judge_url(longest, PUBLIC), Target)
    assert judge_url(f"{longest}a", PUBLIC) is Verdict.DENY_URL_LENGTH


def test_a_name_has_a_length_limit() -> None:
    """253 characters are taken, one more is refused."""
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    assert len(longest) == HOST_LENGTH_MAX
    assert isinstance(judge_url(f"https://{longest}/", PUBLIC), Target)
    assert judge_url(f"https://{longest}a/", PUBLIC) is Verdict.DENY_HOST_SYNTAX


@pytest.mark.parametrize(
    ("url", "verdict"),
    [
        ("http://localhost:8000/hook", Verdict.ALLOW),
        ("http://127.0.0.1:18000/", Verdict.ALLOW),
        ("http://[::1]:65535/", Verdict.ALLOW),
        ("https://10.0.0.1:1/", Verdict.ALLOW),
        ("http://172.17.0.1/", Verdict.ALLOW),
        ("http://[fd00::1]/", Verdict.ALLOW),
        ("http://127.0.0.1:0/", Verdict.DENY_PORT),
        ("http://127.0.0.1:65536/", Verdict.DENY_PORT),
        ("http://169.254.169.254/", Verdict.DENY_METADATA),
        ("http://[fd00:ec2::254]/", Verdict.DENY_METADATA),
        ("http://[fe80::1]/", Verdict.DENY_LINK_LOCAL),
        ("http://0.0.0.0/", Verdict.DENY_UNSPECIFIED),
        ("http://224.0.0.1/", Verdict.DENY_MULTICAST),
        ("http://[2002:7f00:1::]/", Verdict.DENY_EMBEDDED),
        ("ftp://127.0.0.1/", Verdict.DENY_SCHEME),
        ("http://user@127.0.0.1/", Verdict.DENY_CREDENTIALS),
    ],
)
def test_allow_private_opens_private_and_loopback_only(url: str, verdict: Verdict) -> None:
    """A developer's own hosts may be called, over http and at any port; the cloud's metadata never."""
    judged = judge_url(url, LOCAL)
    assert verdict == (Verdict.ALLOW if isinstance(judged, Target) else judged)


@pytest.mark.parametrize(
    ("host", "verdict"),
    [
        ("good.test", Verdict.ALLOW),
        ("GOOD.test", Verdict.ALLOW),
        ("sub.good.test", Verdict.DENY_UNLISTED_HOST),
        ("notgood.test", Verdict.DENY_UNLISTED_HOST),
        ("a.wild.test", Verdict.ALLOW),
        ("b.a.wild.test", Verdict.ALLOW),
        ("wild.test", Verdict.DENY_UNLISTED_HOST),
        ("xwild.test", Verdict.DENY_UNLISTED_HOST),
        ("bad.wild.test", Verdict.DENY_DENIED_HOST),
        ("8.8.8.8", Verdict.ALLOW),
        ("8.8.4.4", Verdict.DENY_UNLISTED_HOST),
        ("10.0.0.1", Verdict.DENY_PRIVATE),
        ("xn--bcher-kva.test", Verdict.ALLOW),
    ],
)
def test_listed_hosts(host: str, verdict: Verdict) -> None:
    """A filled allow list is exhaustive, the deny list wins, and neither opens a special range."""
    policy = Policy(
        allow_hosts=frozenset({"Good.test", "*.wild.test", "8.8.8.8", "10.0.0.1", "bücher.test"}),
        deny_hosts=frozenset({"bad.wild.test"}),
    )
    judged = judge_url(f"https://{host}/", policy)
    assert verdict == (Verdict.ALLOW if isinstance(judged, Target) else judged)


def test_a_denied_address_is_denied_behind_a_name_too() -> None:
    """The deny list is asked again for what a name resolves to, however it is wrapped."""
    policy = Policy(deny_hosts=frozenset({"8.8.8.8", "2606:4700:0::1"}))
    for address in ("8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1"):
        assert judge_address(address, policy) is Verdict.DENY_DENIED_HOST


@pytest.mark.parametrize("entry", ["", "https://example.com", "*.10.0.0.1", "a b", "example.com:443", "*"])
def test_a_list_entry_that_could_never_match_is_refused(entry: str) -> None:
    """A typing error in a deny list is an error, not an open door."""
    with pytest.raises(ValueError, match="not a host name"):
        Policy(deny_hosts=frozenset({entry}))


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_wrapping_an_ipv4_address_never_makes_it_better(number: int) -> None:
    """Mapped and NAT64 addresses get the verdict of the address inside; tunnels are refused."""
    plain = judge_address(str(IPv4Address(number)), PUBLIC)
    mapped, nat64 = IPv6Address((0xFFFF << 32) | number), IPv6Address((0x64FF9B << 96) | number)
    six_to_four = IPv6Address((0x2002 << 112) | (number << 80))
    assert plain == judge_address(str(mapped), PUBLIC) == judge_address(str(nat64), PUBLIC)
    assert judge_address(str(six_to_four), PUBLIC) is Verdict.DENY_EMBEDDED


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=60))
def test_any_text_gets_a_verdict(text: str) -> None:
    """Nothing a caller sends raises, and a target is always pure ASCII."""
    judged = judge_url(f"https://{text}", PUBLIC)
    assert isinstance(judged, Verdict) or f"{judged.host}{judged.path_and_query}".isascii()


def test_every_special_ipv4_range_is_in_the_table() -> None:
    """A range that is added gets rows: its first and its last address."""
    addresses = {address for address, _ in ADDRESSES}
    for network, _ in SPECIAL_IPV4:
        assert {str(network[0]), str(network[-1])} <= addresses


def test_idna_is_loaded_for_other_scripts_only() -> None:
    """A plain ASCII webhook costs no cold start for the tables of IDNA."""
    script = (
        "import sys; from core.egress import Policy, classify_url;"
        "classify_url('https://example.com/', Policy()); print('idna' in sys.modules)"
    )
    environment = {"PYTHONPATH": "functions"}
    completed = subprocess.run(  # noqa: S603 - our own interpreter, our own text
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == "False"


def test_a_name_may_have_underscores() -> None:
    """DNS has them, and the services of compose files: `http://my_app:8080/`."""
    target = judge_url("http://my_app:8080/hook", Policy(allow_private=True))
    assert isinstance(target, Target)
    assert target.host == "my_app"
    assert isinstance(judge_url("https://exa_mple.com/", PUBLIC), Target)


def test_a_webhook_may_not_come_back_to_us() -> None:
    """Not to the upstream nor to this service, on any port; on one machine the port tells them apart."""
    ours = ("https://signing.example", "https://relay.example/base")
    policy, local = with_own(PUBLIC, *ours), with_own(LOCAL, "http://127.0.0.1:8100", "http://127.0.0.1:8000")
    for url in ("https://Signing.example/hook", "https://signing.example:8443/", "https://relay.example/"):
        assert judge_url(url, policy) is Verdict.DENY_OWN_HOST
    assert isinstance(judge_url("https://other.example/", policy), Target)
    assert judge_url("http://127.0.0.1:8100/hook", local) is Verdict.DENY_OWN_HOST
    assert isinstance(judge_url("http://127.0.0.1:8200/hook", local), Target)


@pytest.mark.parametrize("verdict", Verdict)
def test_a_refusal_speaks_in_words(verdict: Verdict) -> None:
    """Each says what is expected, and none is a code."""
    assert verdict is Verdict.ALLOW or verdict.expected.startswith("must ")
    assert "deny" not in verdict.expected
    assert Verdict.DENY_SCHEME.expected == "must start with https://"
    assert "emoji" in Verdict.DENY_HOST_SYNTAX.expected


@pytest.mark.parametrize("url", ["https://💩.example/", "https://☕.example/"])
def test_an_emoji_domain_is_refused(url: str) -> None:
    """IDNA 2008 has none, and registries differ in what they make of them."""
    assert judge_url(url, PUBLIC) is Verdict.DENY_HOST_SYNTAX
