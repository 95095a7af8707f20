"""The few endpoints of the Hugging Face hub that an upload needs, on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "hf_test_token_0123456789"
OWNER = "ann"


class Hub:
    """Repositories with their files. After `fails_after` commits, each further one is answered by an error."""

    def __init__(self) -> None:
        self.url = ""
        self.repos: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.commits = 0
        self.refuses: int | None = None

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any]:
        path = urlsplit(target).path
        self.asked.append((method, path))
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        parts = path.strip("/").split("/")
        if path == "/api/repos/create":
            given = json.loads(body)
            repo = f"{given.get('organization') or OWNER}/{given['name']}"
            self.repos[repo] = {"private": bool(given.get("private") or given.get("visibility") == "private")}
            self.files[repo] = {}
            return 200, {"url": f"{self.url}/{repo}"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if parts[:2] not in (["api", "models"], ["api", "datasets"]):
            return 404, {"error": "no such endpoint"}
        repo = "/".join(parts[2:4])
        if repo not in self.repos:
            return 404, {"error": "Repository not found"}
        return self._of_repo(repo, parts[4:], target, body)

    def _of_repo(self, repo: str, rest: list[str], target: str, body: bytes) -> tuple[int, Any]:
        files = self.files[repo]
        match rest[:1]:
            case [] | ["revision"]:
                return 200, {"id": repo, "sha": "0" * 40, "siblings": [], "tags": []} | self.repos[repo]
            case ["preupload"]:
                wanted = json.loads(body)["files"]
                return 200, {
                    "files": [
                        {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                        | ({"oid": oid(files[each["path"]])} if each["path"] in files else {})
                        for each in wanted
                    ]
                }
            case ["tree"]:
                assert "recursive" in parse_qs(urlsplit(target).query)
                return 200, [
                    {"type": "file", "path": name, "size": len(data), "oid": oid(data)}
                    for name, data in files.items()
                ]
            case ["commit"]:
                if self.refuses is not None:
                    return self.refuses, {"error": f"refused for {TOKEN}"}
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                    if line["key"] == "deletedFile":
                        del files[line["value"]["path"]]
                self.commits += 1
                return 200, {"commitUrl": f"{self.url}/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40}
        return 404, {"error": "no such endpoint"}


def oid(data: bytes) -> str:
    """Git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            status, value = hub.answer(self.command, self.path, self.headers, body)
            data = json.dumps(value).encode()
            self.send_response(status)
            if status == 404 and value["error"] == "Repository not found":
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
