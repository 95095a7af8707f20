"""Each request for images, in the metrics and in the log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from commoncanvas.drawing.requests import Request as Drawing
from commoncanvas.options.serve import ServeOptions
from commoncanvas.serving.asked import ImagesRequest
from commoncanvas.serving.errors import ApiError
from commoncanvas.serving.metrics import Metrics
from commoncanvas.web.logs import log


@dataclass
class Record:
    """What is known of a request when it is answered."""

    drawings: list[Drawing] = field(default_factory=list)
    status: int = 500


@contextmanager
def recorded(
    request: Request, asked: ImagesRequest, metrics: Metrics, limits: ServeOptions, *, streams: bool
) -> Iterator[Record]:
    """Count and log a request when its answer begins. Of a stream, that is before its images are drawn."""
    began, record = time.perf_counter(), Record()
    try:
        yield record
    except ApiError as error:
        record.status = error.status
        raise
    finally:
        seconds = time.perf_counter() - began
        metrics.requests.labels(record.status).inc()
        if record.status == 200 and not streams:
            metrics.request_s.observe(seconds)
        log("images", **_values(request, asked, record, seconds, limits.log_prompts))


def _values(
    request: Request, asked: ImagesRequest, record: Record, seconds: float, prompts: bool
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "token": request.scope.get("token_name"),
        "status": record.status,
        "n": len(record.drawings),
        "ms": round(1000 * seconds, 1),
    }
    if record.drawings:
        options = record.drawings[0].options
        values |= {"steps": options.steps, "size": f"{options.width}x{options.height}"}
    if prompts:
        values |= {"prompt": asked.prompt, "negative_prompt": asked.negative_prompt}
    return values
