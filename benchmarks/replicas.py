"""`commoncanvas serve` with one and two replicas on a Ray cluster of this machine, beside an engine without Ray.

Run: python benchmarks/replicas.py [--model demo/model] [--clients 16] [--rounds 3] [--round-seconds 10] [--steps 25].
It takes about four minutes; nothing else should run. Servers without Ray are measured before the cluster starts. Then
the servers with replicas take turns, and only one of them is asked at a time.

Each image must be the same, bit for bit, whoever draws it with one thread.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, NamedTuple

from serving import CASES, Client, at_once, one_by_one, server

ONE_THREAD = ("--threads", "1")
HERE: dict[str, tuple[str, ...]] = {"local, all cores": (), "local, 1 thread": ONE_THREAD}
ON_RAY = {
    "1 replica": ("--engine", "ray", "--replicas", "1", *ONE_THREAD),
    "2 replicas": ("--engine", "ray", "--replicas", "2", *ONE_THREAD),
}
CPUS = 3
"""Those that Ray may count on: one for each replica."""
MEMORY = 100 * 2**20


class Measured(NamedTuple):
    """Of a server: what its client got, and images a second of each round."""

    client: Client
    rates: list[float]


@contextmanager
def cluster(cpus: int) -> Iterator[None]:
    """A Ray cluster on this machine, which the servers find."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        os.environ |= {
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
        from ray.cluster_utils import Cluster

        node: dict[str, Any] = {
            "num_cpus": cpus,
            "object_store_memory": MEMORY,
            "include_dashboard": False,
        }
        made = Cluster(initialize_head=True, connect=False, head_node_args=node)
        os.environ["RAY_ADDRESS"] = made.address
        try:
            yield
        finally:
            made.shutdown()


def measured(servers: Mapping[str, tuple[str, ...]], options: argparse.Namespace) -> dict[str, Measured]:
    """Servers that run at the same time and are asked in turn."""
    with ExitStack() as stack:
        found: dict[str, Measured] = {}
        for name, words in servers.items():
            serve = ("-m", "commoncanvas", "serve", options.model, "--port", "0", *words)
            url, _ = stack.enter_context(server(*serve))
            found[name] = Measured(Client(url, options.steps), [])
            asyncio.run(one_by_one(found[name].client))
        for _ in range(options.rounds):
            for client, rates in found.values():
                asked = client.fresh()
                rates.append(asyncio.run(at_once(asked, options.clients, options.round_seconds)))
                client.wrong += asked.wrong
                client.statuses += asked.statuses
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo/model")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-seconds", type=float, default=10)
    parser.add_argument("--steps", type=int, default=25)
    options = parser.parse_args()
    found = measured(HERE, options)
    with cluster(CPUS):
        found |= measured(ON_RAY, options)
    images = found["local, 1 thread"].client.alone
    usual = median(found["local, all cores"].rates)
    failed = []
    for name, (client, rates) in found.items():
        rate = median(rates)
        others = sum(client.alone[case] != images[case] for case in CASES)
        print(
            f"{name}: {rate:.2f} images/s, {rate / usual:.2f} times; {others} other images than by one thread"
        )
        if client.wrong or (others and name != "local, all cores"):
            failed.append(f"{name}: images of one seed are not the same")
        if set(client.statuses) - {200, 429}:
            failed.append(f"{name}: answers {dict(client.statuses)}")
    print("; ".join(failed) or "each image is the same, whoever draws it with one thread")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
