"""A real server on loopback that answers with exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

from commoncanvas.catalog import Catalog
from commoncanvas.table.schema import to_batch

Answer = bytes | AsyncIterator[bytes]
"""What goes out after the request, as it is; then the connection is closed."""


class RawServer:
    """`answer(path)` says what is sent; `asked` are the paths, in order, and `heads` the whole requests."""

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.asked.append(path)
            self.heads.append(head)
            made = self.answer(path)
            if isinstance(made, bytes):
                writer.write(made)
                await writer.drain()
            else:
                async for part in made:
                    writer.write(part)
                    await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has seen enough
        finally:
            writer.close()


def http(body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """An answer that closes the connection; `length` is what it says of itself."""
    stated = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {stated}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def moved(to: str) -> bytes:
    return http(b"", f"Location: {to}", status="302 Found")


def image_file(format: str = "JPEG", width: int = 60, height: int = 40, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(file, format, **options)
    return file.getvalue()


def web_rows(
    path: Path, urls: Iterable[str], source: str = "web", second: Mapping[str, str] | None = None
) -> Catalog:
    """A catalog with a row a URL, which is its id too; `second`: another URL of the same image, by the first."""
    catalog = Catalog.create(path / "catalog.lance")
    rows = (
        {"image_id": url, "source": source, "image_url": url, "image_url_2": (second or {}).get(url)}
        for url in urls
    )
    catalog.add([to_batch(rows)])
    return catalog


def statuses(catalog: Catalog) -> dict[str, str]:
    rows = catalog.table(["image_id", "fetch_status"]).to_pylist()
    return {row["image_id"]: row["fetch_status"] for row in rows}


def errors(catalog: Catalog) -> dict[str, str]:
    rows = catalog.table(["image_id", "fetch_error"]).to_pylist()
    return {row["image_id"]: row["fetch_error"] for row in rows}
