"""Which addresses are public, and which a fetch must keep away from."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog.fetching.addresses import RefusedAddress, check, kind_of

KINDS = {
    "public": "8.8.8.8 1.1.1.1 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.169.0.1 223.255.255.255 "
    "2606:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1",
    "loopback": "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 ::ffff:7f00:1 64:ff9b::7f00:1 2002:7f00:1::",
    "private": "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 100.127.255.255 fc00::1 fd12:3456::1 "
    "::ffff:10.0.0.1 64:ff9b::a00:1 2002:c0a8:101::1",
    "link-local": "169.254.169.254 fe80::1 fe80::1%eth0 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe",
    "unspecified": "0.0.0.0 0.1.2.3 :: ::ffff:0.0.0.0",
    "multicast": "224.0.0.1 239.255.255.255 ff02::1",
    "reserved": "192.0.0.8 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.7 203.0.113.9 240.0.0.1 255.255.255.255 "
    "2001:db8::1 2001::1 2001:10::1 3fff::1 ::7f00:1 ::10.0.0.1 fec0::1 64:ff9b:1::a00:1 100::1 5f00::1 4000::1 "
    "::ffff:0:127.0.0.1",
}


@pytest.mark.parametrize(
    ("address", "kind"), [(address, kind) for kind, listed in KINDS.items() for address in listed.split()]
)
def test_every_kind_of_address_is_told_whatever_it_is_wrapped_in(address: str, kind: str) -> None:
    assert kind_of(address) == kind


@given(st.integers(0, 2**32 - 1))
def test_no_address_is_public_that_python_calls_private(number: int) -> None:
    address = IPv4Address(number)
    if kind_of(str(address)) == "public":
        assert not (address.is_private or address.is_loopback or address.is_link_local)
        assert not (address.is_multicast or address.is_reserved or address.is_unspecified)


@given(st.integers(0, 2**128 - 1) | st.integers(0, 2**125 - 1).map(lambda number: number | 1 << 125))
def test_no_ipv6_address_is_public_that_python_calls_private(number: int) -> None:
    address = IPv6Address(number)
    embeds = address.ipv4_mapped or address.sixtofour
    if kind_of(str(address)) == "public" and not embeds and number >> 32 != 0x64FF9B << 64:
        assert not (address.is_private or address.is_loopback or address.is_link_local)
        assert not (address.is_multicast or address.is_reserved or address.is_unspecified)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_of_one_kind_however_ipv6_wraps_it(number: int) -> None:
    kind = kind_of(str(IPv4Address(number)))
    for wrapped in (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80 | 1):
        assert kind_of(str(IPv6Address(wrapped))) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_private_networks_can_be_allowed_but_never_the_place_where_clouds_keep_their_keys(kind: str) -> None:
    for address in KINDS[kind].split():
        for allow_private in (False, True):
            if kind == "public" or (allow_private and kind in ("loopback", "private")):
                check(address, allow_private)
            else:
                with pytest.raises(RefusedAddress, match=f"x.example is .*, a {kind} address"):
                    check(address, allow_private, "x.example")
