"""What the server counts, for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250)
IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "commoncanvas_requests",
            "Requests for images, by the status of the answer",
            ["status"],
            registry=registry,
        )
        self.request_s = Histogram(
            "commoncanvas_request_seconds",
            "Seconds from request to answer, of those that got images",
            buckets=SECONDS,
            registry=registry,
        )
        self.drawn = Counter("commoncanvas_images_drawn", "Images drawn", registry=registry)
        self.left = Counter(
            "commoncanvas_images_left", "Images not drawn, because their client left", registry=registry
        )
        self.wait_s = Histogram(
            "commoncanvas_wait_seconds", "Seconds that an image waited", buckets=SECONDS, registry=registry
        )
        self.batch_s = Histogram(
            "commoncanvas_batch_seconds", "Seconds for a batch", buckets=SECONDS, registry=registry
        )
        self.batch_images = Histogram(
            "commoncanvas_batch_images", "Images of a batch", buckets=IMAGES, registry=registry
        )
        self._waiting = Gauge("commoncanvas_images_waiting", "Images that wait", registry=registry)
        self._replicas = Gauge("commoncanvas_replicas", "Replicas that can draw", registry=registry)

    def follow(self, waiting: Callable[[], float], replicas: Callable[[], float]) -> None:
        """Ask `waiting` for the length of the queue, and `replicas` for the number of those that live."""
        self._waiting.set_function(waiting)
        self._replicas.set_function(replicas)

    def text(self) -> bytes:
        return generate_latest(self.registry)
