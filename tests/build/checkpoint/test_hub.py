"""`hub:` sources with the real huggingface_hub against a small hub on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edge.build.checkpoint import folder_digest, open_checkpoint
from edge.errors import ExitStatus, OfflineError, SourceError

COMMIT = "0123456789" * 4
SOURCE = "hub:acme/tiny-1M@main"


class Hub(ThreadingHTTPServer):
    """Serves one repository, acme/tiny-1M, out of a folder; counts what is asked."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.requests = folder, 0


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.requests += 1
        path = self.path.partition("?")[0]
        files = {file.name: file for file in sorted(self.server.folder.iterdir())}
        if path == "/api/models/acme/tiny-1M/revision/main":
            names = [{"rfilename": name} for name in files]
            self.reply(json.dumps({"id": "acme/tiny-1M", "sha": COMMIT, "siblings": names}).encode())
        elif path.startswith(f"/api/models/acme/tiny-1M/tree/{COMMIT}"):
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": self.etag(file)}
                for name, file in files.items()
            ]
            self.reply(json.dumps(tree).encode())
        elif path.startswith(f"/acme/tiny-1M/resolve/{COMMIT}/") and path.rpartition("/")[2] in files:
            file = files[path.rpartition("/")[2]]
            self.reply(file.read_bytes(), {"ETag": f'"{self.etag(file)}"', "X-Repo-Commit": COMMIT})
        elif path.startswith("/api/models/acme/tiny-1M"):
            self.reply(b"{}", {"X-Error-Code": "RevisionNotFound"}, 404)
        else:
            self.reply(b"{}", {"X-Error-Code": "RepoNotFound"}, 404)

    do_HEAD = do_GET  # noqa: N815

    @staticmethod
    def etag(file: Path) -> str:
        return hashlib.sha1(file.read_bytes(), usedforsecurity=False).hexdigest()

    def reply(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        return


def point_to(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """What HF_ENDPOINT sets, which the library reads only when it is imported."""
    endpoint = f"http://127.0.0.1:{port}"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    tiny.folder(tmp_path / "remote")
    (tmp_path / "remote" / "pytorch_model.bin").write_bytes(b"never fetched")
    server = Hub(tmp_path / "remote")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    point_to(monkeypatch, server.server_port)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    yield server
    server.shutdown()
    server.server_close()


def test_fetched_once_then_without_network(tiny, tmp_path: Path, cache, hub: Hub) -> None:
    """A pinned model in the cache needs no hub; it has the digest of the same files in a folder."""
    digest = folder_digest(tmp_path / "remote")
    first = open_checkpoint(tiny.spec(SOURCE, digest), cache, base_folder=tmp_path)
    assert first.digest == digest
    assert first.base_name == "acme/tiny-1M"
    assert "tokenizer.json" in first.tokenizer_files()
    asked = hub.requests
    assert asked > 0
    assert open_checkpoint(tiny.spec(SOURCE, digest), cache, base_folder=tmp_path).digest == digest
    assert hub.requests == asked
    assert not list(cache.root.rglob("*.bin"))


def test_an_unpinned_model_is_kept_and_its_digest_said(tiny, tmp_path: Path, cache, hub: Hub) -> None:
    """So that gigabytes are fetched once: pin what the line says and build again."""
    digest = folder_digest(tmp_path / "remote")
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(SOURCE), cache, base_folder=tmp_path)
    tiny.line(caught.value, f"set its sha256 to {digest}")
    asked = hub.requests
    open_checkpoint(tiny.spec(SOURCE, digest), cache, base_folder=tmp_path)
    assert hub.requests == asked


def test_a_branch_that_moved_is_refused(tiny, tmp_path: Path, cache, hub: Hub) -> None:
    """The same name with other content is another model, and is never taken from or put into the cache as it."""
    digest = folder_digest(tmp_path / "remote")
    tiny.folder(tmp_path / "remote", rope_theta=5.0)
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(SOURCE, digest), cache, base_folder=tmp_path)
    tiny.line(caught.value, "not what the profile pins")
    assert list((cache.root / "hub").iterdir()) == []


@pytest.mark.parametrize("source", ["hub:acme/absent@main", "hub:acme/tiny-1M@absent"])
def test_what_is_not_there_is_one_line(tiny, tmp_path: Path, cache, hub: Hub, source: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(source, "ab" * 32), cache, base_folder=tmp_path)
    tiny.line(caught.value, "not on the hub")


def test_offline_is_one_line(tiny, tmp_path: Path, cache, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_to(monkeypatch, 9)
    with pytest.raises(OfflineError) as caught:
        open_checkpoint(tiny.spec(SOURCE, "ab" * 32), cache, base_folder=tmp_path)
    tiny.line(caught.value, "no network", status=ExitStatus.OFFLINE)


@pytest.mark.parametrize("source", ["hub:tiny", "hub:acme/tiny", "hub:acme/tiny@", "hub:../x@main", "hub:a/b/c@main"])
def test_a_malformed_name_is_one_line(tiny, tmp_path: Path, cache, source: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tiny.spec(source, "ab" * 32), cache, base_folder=tmp_path)
    tiny.line(caught.value, "org/name@revision")
