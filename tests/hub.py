"""A small server of the part of the Hugging Face hub's API that a push needs, on this machine.

As the hub does, it takes tars, Parquet files and pictures by git LFS, in parts if they are large, and checks the hash
of each; the rest comes within a commit. What it is asked, it notes; what it is to get wrong, a test tells it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_forTestsAlone"
PART_BYTES = 16 * 1024
"""What is larger is uploaded in parts of this size."""

_LFS = (".tar", ".parquet", ".png")
_PAGE_FILES = 7


@dataclass(kw_only=True)
class Repo:
    private: bool = False
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {".gitattributes": b"*.tar lfs\n"}})
    commits: list[tuple[str, set[str], set[str]]] = field(default_factory=list)
    """Of each commit the message, the files added, and the files deleted."""


@dataclass(kw_only=True)
class Hub:
    """The state of the server, and what it was asked."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    """Large files by their sha256: they stay, committed or not."""
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of each request."""
    fault: Callable[[str, str], int] = lambda method, path: 0
    """The status to answer a request with in the place of doing it; 0 to do it."""
    said: str = "as the test wants it"
    """What is said with such a status."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def uploads(self) -> list[str]:
        """The paths by which large files, or parts of them, came in."""
        return [path for method, path in self.asked if method == "PUT"]

    def files(self, name: str, branch: str = "main") -> dict[str, bytes]:
        return self.repos[name].branches[branch]

    def download(self, name: str, folder: Path, branch: str = "main") -> Path:
        for file, data in self.files(name, branch).items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        return folder


@contextmanager
def serving_hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        state = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._do("GET")

    def do_POST(self) -> None:
        self._do("POST")

    def do_PUT(self) -> None:
        self._do("PUT")

    def _do(self, method: str) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        with self.state.lock:
            if status := self.state.fault(method, path):
                self._answer(status, {"error": self.state.said})
                return
            self.state.asked.append((method, path))
            self._route(method, path, body)

    def _route(self, method: str, path: str, body: bytes) -> None:
        hub = self.state
        if method == "PUT":
            self._store(path, body)
        elif path == "/api/validate-yaml":
            header = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            wrong = not isinstance(header, dict) or header.get("license", "") != str(header.get("license", "")).lower()
            self._answer(
                400 if wrong else 200, {"errors": [{"message": "no metadata"}] if wrong else [], "warnings": []}
            )
        elif match := re.fullmatch(r"/complete/(\w+)", path):
            parts = hub.parts.pop(match[1])
            numbers = [part["partNumber"] for part in json.loads(body)["parts"]]
            data = b"".join(parts[number] for number in numbers)
            right = hashlib.sha256(data).hexdigest() == match[1]
            hub.stored.update({match[1]: data} if right else {})
            self._answer(200 if right else 400, {})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in hub.repos:
                self._answer(
                    409, {"error": "You already created this dataset repo", "url": f"{hub.url}/datasets/{name}"}
                )
            else:
                hub.repos[name] = Repo(private=asked.get("visibility") == "private" or bool(asked.get("private")))
                self._answer(200, {"url": f"{hub.url}/datasets/{name}", "name": name})
        elif match := re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+?)(?:\.git)?(?:/(.*))?", path):
            repo = hub.repos.get(match[1])
            if repo is None:
                self._answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            else:
                self._of_a_repo(match[1], repo, (match[2] or "").split("/", 1), body)
        else:
            self._answer(404, {"error": path})

    def _of_a_repo(self, name: str, repo: Repo, what: list[str], body: bytes) -> None:
        action, branch = what[0], what[1] if len(what) > 1 else ""
        if action == "":
            self._answer(200, {"id": name, "private": repo.private, "sha": "0" * 40, "siblings": []})
        elif action == "branch":
            status = 409 if branch in repo.branches else 201
            repo.branches.setdefault(branch, dict(repo.branches["main"]))
            self._answer(status, {})
        elif action == "info":  # info/lfs/objects/batch
            objects = [self._lfs_object(**asked) for asked in json.loads(body)["objects"]]
            self._answer(200, {"transfer": "basic", "objects": objects})
        elif branch not in repo.branches:
            self._answer(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        elif action == "tree":
            self._tree(name, repo.branches[branch], branch)
        elif action == "preupload":
            files = [
                {
                    "path": asked["path"],
                    "uploadMode": "lfs" if asked["path"].endswith(_LFS) else "regular",
                    "shouldIgnore": False,
                }
                for asked in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        elif action == "commit":
            self._commit(name, repo, branch, [json.loads(line) for line in body.splitlines()])
        else:
            self._answer(404, {"error": action})

    def _tree(self, name: str, files: dict[str, bytes], branch: str) -> None:
        """The files, in pages, as the hub gives long listings."""
        start = int((urlsplit(self.path).query.rpartition("cursor=")[2] or "0") if "cursor=" in self.path else 0)
        listed = [_listed(path, data) for path, data in sorted(files.items())]
        more = f"{self.state.url}/api/datasets/{name}/tree/{branch}?recursive=true&cursor={start + _PAGE_FILES}"
        has_more = start + _PAGE_FILES < len(listed)
        page = listed[start : start + _PAGE_FILES]
        self._answer(200, page, {"Link": f'<{more}>; rel="next"'} if has_more else {})

    def _lfs_object(self, oid: str, size: int) -> dict[str, Any]:
        if oid in self.state.stored:
            return {"oid": oid, "size": size}
        if size <= PART_BYTES:
            return {"oid": oid, "size": size, "actions": {"upload": {"href": f"{self.state.url}/upload/{oid}"}}}
        count = -(-size // PART_BYTES)
        header = {str(part): f"{self.state.url}/upload/{oid}/{part}" for part in range(1, count + 1)}
        action = {"href": f"{self.state.url}/complete/{oid}", "header": {**header, "chunk_size": str(PART_BYTES)}}
        return {"oid": oid, "size": size, "actions": {"upload": action}}

    def _store(self, path: str, body: bytes) -> None:
        _, _, oid, *part = path.split("/")
        if part:
            self.state.parts.setdefault(oid, {})[int(part[0])] = body
        elif hashlib.sha256(body).hexdigest() == oid:
            self.state.stored[oid] = body
        else:
            self._answer(400, {"error": "other bytes than their hash"})
            return
        self._answer(200, {}, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def _commit(self, name: str, repo: Repo, branch: str, lines: list[dict[str, Any]]) -> None:
        files, added, deleted = dict(repo.branches[branch]), set[str](), set[str]()
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
                added.add(value["path"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.state.stored[value["oid"]]
                added.add(value["path"])
            else:
                del files[value["path"]]
                deleted.add(value["path"])
        repo.branches[branch] = files
        repo.commits.append((lines[0]["value"]["summary"], added, deleted))
        oid = hashlib.sha1(json.dumps(lines).encode()).hexdigest()
        self._answer(200, {"commitUrl": f"{self.state.url}/datasets/{name}/commit/{oid}", "commitOid": oid})

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _listed(path: str, data: bytes) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": "1" * 40}
    if path.endswith(_LFS):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    else:
        entry["oid"] = hashlib.sha1(b"blob " + str(len(data)).encode() + b"\0" + data).hexdigest()
    return entry
