"""A local HTTP server with the part of the hub's protocol that fetching a model needs, and simulated failures."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """One model's files, the failures to simulate, and the requests received."""

    hub_id: str
    files: dict[str, bytes]
    status: int = 200  # of every response
    error_code: str = ""  # X-Error-Code of a failure
    cut_at: dict[str, int] = field(default_factory=dict)  # drop the connection once, after this many bytes of the file
    refuse: set[str] = field(default_factory=set)  # files whose GET closes the connection without a response
    serve: dict[str, bytes] = field(default_factory=dict)  # content that differs from the listing's checksum
    ranges: list[tuple[str, str]] = field(default_factory=list)  # the Range headers received: file, header
    gets: list[str] = field(default_factory=list)  # the files requested with GET
    url: str = ""

    def entry(self, name: str) -> dict[str, Any]:
        """Return a file's entry in the listing; safetensors are LFS files."""
        content = self.files[name]
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        entry: dict[str, Any] = {"size": len(content), "blobId": git, "oid": git}
        if name.endswith(".safetensors"):
            sha = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"sha256": sha, "oid": sha, "size": len(content), "pointerSize": 134}
        return entry


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve a hub at `hub.url` inside the context."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            _answer(self, hub, body=False)

        def do_GET(self) -> None:
            _answer(self, hub, body=True)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _answer(request: BaseHTTPRequestHandler, hub: Hub, body: bool) -> None:
    path = urlsplit(request.path).path
    if hub.status != 200:
        return _send(request, hub.status, b"{}", {"X-Error-Code": hub.error_code}, body)
    api = f"/api/models/{hub.hub_id}"
    revision = re.search(r"/(?:revision|tree|resolve)/([^/]+)", path)
    if revision and revision[1] not in ("main", COMMIT):
        return _send(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body)
    if path == api or path.startswith(f"{api}/revision/"):
        siblings = [{"rfilename": name, **hub.entry(name)} for name in hub.files]
        return _send(
            request, 200, json.dumps({"id": hub.hub_id, "sha": COMMIT, "siblings": siblings}).encode(), {}, body
        )
    if path.startswith(f"{api}/tree/"):
        tree = [{"type": "file", "path": name, **hub.entry(name)} for name in hub.files]
        return _send(request, 200, json.dumps(tree).encode(), {}, body)
    name = path.rpartition("/")[2]
    if path.startswith(f"/{hub.hub_id}/resolve/") and name in hub.files:
        return _send_file(request, hub, name, body)
    _send(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"}, body)


def _send_file(request: BaseHTTPRequestHandler, hub: Hub, name: str, body: bool) -> None:
    content, entry = hub.serve.get(name, hub.files[name]), hub.entry(name)
    headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{entry["blobId"]}"'}
    if "lfs" in entry:
        headers |= {"X-Linked-Etag": f'"{entry["lfs"]["sha256"]}"', "X-Linked-Size": str(entry["size"])}
    status, start = 200, 0
    if body:
        hub.gets.append(name)
        if requested := re.fullmatch(r"bytes=(\d+)-\d*", request.headers.get("Range", "")):
            hub.ranges.append((name, requested[0]))
            status, start = 206, int(requested[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    if body and name in hub.refuse:
        request.close_connection = True
        return
    cut = hub.cut_at.pop(name, None) if body else None
    _send(request, status, content[start:], headers, body, cut)


def _send(
    request: BaseHTTPRequestHandler,
    status: int,
    content: bytes,
    headers: dict[str, str],
    body: bool,
    cut: int | None = None,
) -> None:
    request.send_response(status)
    for key, value in {"Content-Length": str(len(content)), **headers}.items():
        request.send_header(key, value)
    request.end_headers()
    if body:
        request.wfile.write(content[:cut])
        request.wfile.flush()
    if cut is not None:
        request.close_connection = True
