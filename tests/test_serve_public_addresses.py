"""Addresses that a stranger gives: every spelling of what must not be fetched, and what may be."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openblip.errors import ImageError
from openblip.serve.guard.addresses import PictureFetcher
from openblip.serve.guard.public_addresses import Target, is_public, parse_url

ITSELF = """
    127.0.0.1 127.1 127.0.1 127.255.255.254 0.0.0.0 0 2130706433 017700000001 0x7f000001 0x7f.0.0.1 0x7F.1 0177.0.0.1
    0177.0.0.01 127.0.0.1. 127.0.0.1.. 127.0.0.0x1 00000127.1 localhost LOCALHOST localhost. [::1] [::]
    [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::127.0.0.1] [::ffff:7f00:1] [0000::1] [::ffff:0:127.0.0.1]
    [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] １２７.0.0.1 ①②⑦.⓪.⓪.① 127。0。0。1 １２７．０．０．１ ⓛocalhost
    𝟏𝟐𝟕.𝟎.𝟎.𝟏 127.0.0.𝟏 0𝓍7f.1
"""
INSIDE = """
    10.0.0.1 10.1 167772161 172.16.0.1 172.31.255.255 192.168.0.1 192.168.257 3232235521 169.254.169.254 2852039166
    0xa9fea9fe 0251.0376.0251.0376 0xA9.0xFE.0xA9.0xFE 169.254.43518 [::ffff:169.254.169.254] [::ffff:a9fe:a9fe]
    [64:ff9b::a9fe:a9fe] [fd00:ec2::254] [fe80::1] [2002:7f00:1::] [2002:a9fe:a9fe::1]
    [2001:0:4136:e378:8000:63bf:3fff:fdd2] [64:ff9b:1::1] [fe80::1%25eth0] [fe80::1%eth0] [::1%25lo] [fec0::1] [fc00::1]
    [ff02::1] [2001:db8::1] [100::1] [2001:2::1] [3fff::1] [5f00::1] [4000::1] metadata metadata. intranet router
    100.64.0.1 100.100.100.200 168.63.129.16 192.0.0.192 192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.7 203.0.113.9
    192.88.99.1 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255
"""
AMBIGUOUS = """
    user:pass@8.8.8.8 8.8.8.8@127.0.0.1 @8.8.8.8 8.8.8.8:22 8.8.8.8:0 8.8.8.8:65536 8.8.8.8: 8.8.8.8:443:80
    8.8.8.8:４４３ 8.8.8.8:-443 8.8.8.8:+443 8.8.8.8\\@127.0.0.1 %31%32%37.0.0.1 127%2e0.0.1 a%00.example a..example
    .example.org a_b.example [8.8.8.8] [::1 ::1 [v1.x] [] [::1]x -a.example a-.example 1.2.3.4.5 1.2.3.256 1.2.3.08
    8.8.8.8.example.1 a.0x . .. ?x #x ¼.example ⒈example⁄ a*b.example a,b.example {a}.example
"""
LONG = ["a" * 64 + ".example", "a." * 130 + "example"]
INVISIBLE = [
    "",
    "8.8.8.8 ",
    "8.8.8.8\t",
    "8.8.8.8\r\nHost:x",
    "a\u200b.b",
    "8.8.8.8\x00",
    "\u202ea.b",
    "a\u3000b.example",
]
FORBIDDEN = [*ITSELF.split(), *INSIDE.split(), *AMBIGUOUS.split(), *LONG, *INVISIBLE]


def refusal(error: pytest.ExceptionInfo[ImageError]) -> str:
    line = str(error.value)
    assert line.isprintable()
    assert len(line) < 400
    return line


def test_sixty_spellings_and_more() -> None:
    assert len(set(FORBIDDEN)) > 120


@pytest.mark.parametrize("host", FORBIDDEN)
def test_a_forbidden_host_is_refused_without_a_look(host: str) -> None:
    async def resolve(name: str, port: int) -> list[str]:
        raise AssertionError(f"{name} was resolved")

    async def run() -> None:
        await PictureFetcher(resolve=resolve).fetch(f"https://{host}/a.jpg")

    with pytest.raises(ImageError) as caught:
        asyncio.run(run())
    refusal(caught)


NOT_FETCHED = """
    http://pictures.example/ HTTP://pictures.example file:///etc/passwd gopher://pictures.example/ unix:/run/x
    ftp://pictures.example/ //pictures.example/ pictures.example https:pictures.example https:/pictures.example
    javascript:1 data:image/png;base64,AAAA https:// https:/// dict://a.b:1/ https：//pictures.example/ http:\\\\a.b
"""


@pytest.mark.parametrize(
    "url",
    [
        *("", " https://pictures.example/", "https://pictures.example/ a", "https://pictures.example/\n"),
        *("\x00https://a.b/", "h\u200bttps://a.b/", "https://pictures.example/" + "a" * 3000),
        *NOT_FETCHED.split(),
    ],
)
def test_an_address_that_is_not_fetched(url: str) -> None:
    with pytest.raises(ImageError) as caught:
        parse_url(url)
    assert refusal(caught).startswith(("the picture's address", "pictures.example"))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://pictures.example", ("pictures.example", 443, "/", None)),
        ("HTTPS://Pictures.Example.:443/A?b=c&d#e", ("pictures.example", 443, "/A?b=c&d", None)),
        ("https://bücher.example/ü?ä", ("xn--bcher-kva.example", 443, "/%C3%BC?%C3%A4", None)),
        ("https://ＰＩＣＴＵＲＥＳ。example/", ("pictures.example", 443, "/", None)),
        ("https://8.8.8.8/a", ("8.8.8.8", 443, "/a", IPv4Address("8.8.8.8"))),
        ("https://８.8.8.8/a", ("8.8.8.8", 443, "/a", IPv4Address("8.8.8.8"))),
        ("https://[2606:4700::1111]/", ("2606:4700::1111", 443, "/", IPv6Address("2606:4700::1111"))),
        ("https://a.example/%2e%2e/x%0d%0a", ("a.example", 443, "/%2e%2e/x%0d%0a", None)),
    ],
)
def test_an_address_that_is(url: str, target: tuple[str, int, str, object]) -> None:
    parsed = parse_url(url)
    assert (parsed.host, parsed.port, parsed.path, parsed.literal) == target
    assert parse_url(parsed.url) == parsed


def test_authority_of_ports_and_ipv6() -> None:
    assert parse_url("https://[2606:4700::1111]:8443/", (8443,)).authority == "[2606:4700::1111]:8443"
    assert Target("a.example", 443, "/", None).authority == "a.example"


PUBLIC = "8.8.8.8 1.1.1.1 93.184.216.34 223.255.255.1 2606:4700::1111 2a00:1450:4001::1 64:ff9b::808:808".split()


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    assert is_public(ip_address(text))


private_v4 = st.one_of(
    *(
        st.ip_addresses(v=4, network=network)
        for network in "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 "
        "192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3".split()
    )
)


@given(private_v4)
def test_no_private_address_is_public_in_any_disguise(address: IPv4Address) -> None:
    number = int(address)
    assert not is_public(address)
    disguises = {"::ffff:0:0": 0, "::": 0, "64:ff9b::": 0, "::ffff:0:0:0": 0, "2001::": 64, "2002::": 80}
    for prefix, shift in disguises.items():
        assert not is_public(IPv6Address(int(IPv6Address(prefix)) | number << shift))


@given(private_v4, st.data())
def test_no_spelling_of_a_private_address_is_fetched(address: IPv4Address, data: st.DataObject) -> None:
    """As inet_aton reads them: one to four parts, each decimal, octal or hexadecimal, also in fullwidth digits."""
    number = int(address)
    parts = data.draw(st.integers(1, 4))
    split = [number >> 8 * (3 - index) & 0xFF for index in range(parts - 1)] + [number & (1 << 8 * (5 - parts)) - 1]
    forms = st.sampled_from(["{}", "0{:o}", "0x{:x}", "0X{:X}", "0x00{:x}"])
    spelled = ".".join(data.draw(forms).format(part) for part in split)
    if data.draw(st.booleans()):
        spelled = spelled.translate({digit: digit + 0xFEE0 for digit in range(ord("0"), ord("9") + 1)})
    host = spelled + data.draw(st.sampled_from(["", ".", ":443"]))
    try:
        target = parse_url(f"https://{host}/")
    except ImageError:
        return
    assert target.literal == address, "a canonical spelling is known for what it is"
    assert not is_public(target.literal)


@given(st.ip_addresses(v=6))
def test_only_global_unicast_is_public(address: IPv6Address) -> None:
    if is_public(address):
        assert address in IPv6Network("2000::/3") or is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        assert address in IPv6Network("2000::/3") or address in IPv6Network("64:ff9b::/96")
        assert not address.sixtofour
        assert not address.teredo
        assert not address.ipv4_mapped


@given(st.text(max_size=60), st.sampled_from(["https://", "", "https://a.example/", "https://[", "//"]))
def test_any_text_is_a_target_or_an_image_error(text: str, before: str) -> None:
    try:
        target = parse_url(before + text)
    except ImageError:
        return
    assert target.host.isascii()
    assert target.path.isascii()
    assert target.path.startswith("/")
    assert not set(target.host + target.path) & set(" \r\n\t\\")
