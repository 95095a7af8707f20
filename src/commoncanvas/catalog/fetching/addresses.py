"""Which IP addresses a fetch may connect to. Metadata is not trusted: no URL, redirect or DNS answer may lead a fetch
into networks that only this machine can reach.

Each address is checked twice: in the resolver's answer, and when the socket is made. The second check covers hosts
written as numbers and names that resolve differently the second time (DNS rebinding).
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

# IANA's special-purpose registries (RFC 6890 and its successors). `ipaddress.is_global` is not used: it differs
# between Python versions.
_KINDS = {
    kind: tuple(ip_network(text) for text in networks.split())
    for kind, networks in {
        "loopback": "127.0.0.0/8 ::1/128",
        "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 fc00::/7",
        "link-local": "169.254.0.0/16 fe80::/10",
        "unspecified": "0.0.0.0/8 ::/128",
        "multicast": "224.0.0.0/4 ff00::/8",
        "reserved": "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
        "240.0.0.0/4 2001::/23 2001:db8::/32 3fff::/20",
    }.items()
}
_ALLOWABLE = ("loopback", "private")
ALLOWING = "--allow-private"
"""The flag that allows these kinds. The error names it when it would help."""
_UNICAST = ip_network("2000::/3")  # the only IPv6 range that is allocated for global unicast
_EMBEDDING = (  # prefix, and by how many bits the IPv4 address in it is shifted left
    (ip_network("::ffff:0:0/96"), 0),  # mapped
    (ip_network("64:ff9b::/96"), 0),  # NAT64
    (ip_network("2002::/16"), 80),  # 6to4
)


class RefusedAddress(OSError):
    """An address that a fetch must not connect to."""


def kind_of(address: str) -> str:
    """The kind of an IPv4 or IPv6 address: `public` or a key of `_KINDS`. An embedded IPv4 address decides.

    Raises ValueError if it is not an address.
    """
    parsed = _unwrapped(ip_address(address))
    for kind, networks in _KINDS.items():
        if any(parsed in network for network in networks):
            return kind
    return "public" if parsed.version == 4 or parsed in _UNICAST else "reserved"


def check(address: str, allow_private: bool, name: str | None = None) -> None:
    """Raise RefusedAddress unless `address` is public, or `allow_private` and it is loopback or private.

    Link-local addresses are always refused: cloud machines get their keys from one.
    """
    kind = kind_of(address)
    if kind != "public" and not (allow_private and kind in _ALLOWABLE):
        called = f"{name} is {address}," if name and name != address else f"{address} is"
        hint = f"; use {ALLOWING} if it is your own server" if kind in _ALLOWABLE else ""
        raise RefusedAddress(f"{called} a {kind} address{hint}")


class GuardedResolver(AbstractResolver):
    """The system's resolver, without refused addresses."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises RefusedAddress if all addresses of `host` are refused, OSError if it has none."""
        allowed: list[ResolveResult] = []
        refusal: RefusedAddress | None = None
        for answer in await self._inner.resolve(host, port, family):
            try:
                check(answer["host"], self._allow_private, host)
                allowed.append(answer)
            except RefusedAddress as error:
                refusal = error
        if refusal and not allowed:
            raise refusal
        return allowed

    async def close(self) -> None:
        await self._inner.close()


class GuardedSockets:
    """aiohttp's `socket_factory`: makes the sockets of connections and refuses disallowed addresses."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private

    def __call__(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        check(str(address[0]), self._allow_private)
        return socket.socket(family, kind, protocol)


def _unwrapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    for prefix, shift in _EMBEDDING:
        if address in prefix:
            return IPv4Address(int(address) >> shift & 0xFFFFFFFF)
    return address
