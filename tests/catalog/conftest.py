"""No packet of these tests leaves the machine, not even by a bug: what would is stopped, and fails its test."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pytest


@dataclass
class Network:
    """The world as the tests see it: `names` answers look-ups, one list of addresses after the other, the last for
    ever; `reroutes` sends connections to an address to a port of loopback instead.
    """

    names: dict[str, list[list[str]]] = field(default_factory=dict)
    reroutes: dict[str, int] = field(default_factory=dict)
    connected: list[str] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    escapes: list[str] = field(default_factory=list)
    """What would have left."""
    elsewhere_is_down: bool = False
    """All other addresses refuse to be connected to, and no other name is known: a test that goes there on purpose."""
    strays: list[str] = field(default_factory=list)
    """The addresses and names that were asked for while `elsewhere_is_down`."""

    def stop(self, host: str) -> OSError:
        (self.strays if self.elsewhere_is_down else self.escapes).append(host)
        return ConnectionRefusedError(f"the test would have sent a packet to {host}")

    def answer(self, name: str) -> list[str]:
        answers = self.names[name]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    network = Network()
    look_up = socket.getaddrinfo

    def local(address: Any) -> Any:
        """The address to use instead of `address`. Raises OSError where a packet would leave."""
        if not isinstance(address, tuple):
            return address  # a path: a Unix socket
        host = str(address[0])
        network.connected.append(host)
        if host in network.reroutes:
            return ("127.0.0.1", network.reroutes[host])
        if host != "localhost" and not ip_address(host.split("%")[0]).is_loopback:
            raise network.stop(host)
        return address

    def guarded(name: str, position: int) -> Any:
        real = getattr(socket.socket, name)

        def call(self: socket.socket, *arguments: Any) -> Any:
            at = len(arguments) - 1 if position < 0 else position
            return real(self, *arguments[:at], local(arguments[at]), *arguments[at + 1 :])

        return call

    def getaddrinfo(
        host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        network.looked_up.append(name)
        if name in (None, "", "localhost"):
            return look_up(host, port, family, type, proto, flags)
        try:
            return [
                info
                for address in (network.answer(name) if name in network.names else [name])
                for info in look_up(address, port, family, type, proto, socket.AI_NUMERICHOST)
            ]
        except socket.gaierror:
            network.stop(f"DNS for {name}")
            raise

    monkeypatch.setattr(socket.socket, "connect", guarded("connect", 0))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded("connect_ex", 0))
    monkeypatch.setattr(socket.socket, "sendto", guarded("sendto", -1))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield network
    assert network.escapes == [], "traffic would have left this machine"
