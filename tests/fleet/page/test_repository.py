"""Downloads. When these fail, a tablet on bad Wi-Fi begins anew each time, or a path leads out of the folder."""

from __future__ import annotations

import hashlib
import http.client
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from edge.fleet.page.repository import WHOLE_BYTES, find_file
from edge.fleet.page.server import make_app
from edge.fleet.store.store import Store
from tests.fleet.page.conftest import NOW, ask, serving

BIG = bytes(range(256)) * (WHOLE_BYTES // 256 + 1_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with metadata, a chunk, and everything that must not be served."""
    top = tmp_path_factory.mktemp("repository")
    root = top / "public"
    (root / "metadata").mkdir(parents=True)
    (root / "targets").mkdir()
    (root / "metadata" / "timestamp.json").write_bytes(b'{"signed": 1}')
    (root / "targets" / hashlib.sha256(BIG).hexdigest()).write_bytes(BIG)
    (root / "targets" / ".part").write_bytes(b"half")
    (top / "secret.pem").write_bytes(b"private")
    (root / "targets" / "out").symlink_to(top / "secret.pem")
    (root / "targets" / "loop").symlink_to(root / "targets" / "loop")
    (root / "targets" / "inside").symlink_to(root / "metadata" / "timestamp.json")
    os.mkfifo(root / "targets" / "pipe")
    return root


@pytest.fixture(scope="module")
def repo(fleet_store: Store, folder: Path) -> Iterator[str]:
    """The address of the page with that repository."""
    with serving(make_app(fleet_store, repository=folder, clock=lambda: NOW)) as base:
        yield base


def chunk(folder: Path) -> str:
    """The path of the large file."""
    return f"/repo/targets/{hashlib.sha256(BIG).hexdigest()}"


def test_whole_files(repo: str, folder: Path) -> None:
    """Fails when bytes are changed on the way, or fresh metadata is taken from a cache."""
    small = ask(repo, "/repo/metadata/timestamp.json")
    assert small.body == b'{"signed": 1}' and small.headers["cache-control"] == "no-cache"
    assert ask(repo, "/repo/metadata/timestamp.json", if_none_match=small.headers["etag"]).status == 304
    large = ask(repo, chunk(folder))
    assert large.body == BIG and large.headers["accept-ranges"] == "bytes"
    assert "immutable" in large.headers["cache-control"]
    head = ask(repo, chunk(folder), "HEAD")
    assert head.body == b"" and head.headers["content-length"] == str(len(BIG))


def test_ranges(repo: str, folder: Path) -> None:
    """Fails when a piece is not the piece that was asked for."""
    path = chunk(folder)
    for asked, start, stop in (("0-0", 0, 1), ("100-199", 100, 200), (f"{len(BIG) - 5}-", -5, None), ("-7", -7, None)):
        answer = ask(repo, path, range=f"bytes={asked}")
        assert answer.status == 206 and answer.body == BIG[start:stop]
    assert ask(repo, path, range="bytes=100-199").headers["content-range"] == f"bytes 100-199/{len(BIG)}"
    assert ask(repo, path, range=f"bytes={len(BIG)}-").status == 416
    assert ask(repo, path, range="bytes=9-3").status == 400
    small = ask(repo, "/repo/metadata/timestamp.json", range="bytes=2-7")
    assert small.status == 206 and small.body == b"signed"
    many = ask(repo, path, range="bytes=" + ",".join(f"{n * 3}-{n * 3}" for n in range(2_000)))
    assert len(many.body) <= len(BIG)


def test_resumed_download_is_the_same_file(repo: str, folder: Path) -> None:
    """Fails when a download that broke off cannot go on, or goes on in a file that was replaced meanwhile."""
    at = urlsplit(repo)
    link = http.client.HTTPConnection(str(at.hostname), at.port, timeout=10)
    link.request("GET", chunk(folder))
    answer = link.getresponse()
    tag, have = str(answer.getheader("etag")), answer.read(300_000)
    link.close()
    rest = ask(repo, chunk(folder), range=f"bytes={len(have)}-", if_range=tag)
    assert rest.status == 206 and hashlib.sha256(have + rest.body).hexdigest() == hashlib.sha256(BIG).hexdigest()
    anew = ask(repo, chunk(folder), range=f"bytes={len(have)}-", if_range='"of another file"')
    assert anew.status == 200 and anew.body == BIG


HOSTILE = (
    "/repo/../secret.pem", "/repo/%2e%2e/secret.pem", "/repo/..%2fsecret.pem", "/repo/targets/../../secret.pem",
    "/repo/%252e%252e/secret.pem", "/repo//etc/passwd", "/repo/%2fetc%2fpasswd", "/repo/targets/out",
    "/repo/targets/loop", "/repo/targets/.part", "/repo/targets/pipe", "/repo/targets", "/repo/targets/", "/repo/",
    "/repo/a%00b", "/repo/targets/%ff", "/repo/targets\\..\\..\\secret.pem", "/repo/" + "a/" * 40 + "b",
    "/repo/" + "a" * 5_000,
)  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE, ids=range(len(HOSTILE)))
def test_no_path_leads_out(repo: str, path: str) -> None:
    """Fails when a path, as it stands or encoded, or a link in the folder, gives a file that is not of it."""
    at = urlsplit(repo)
    link = http.client.HTTPConnection(str(at.hostname), at.port, timeout=10)
    link.putrequest("GET", path, skip_host=False)
    link.endheaders()
    answer = link.getresponse()
    body = answer.read()
    link.close()
    assert answer.status in (400, 404) and b"private" not in body and b"root:" not in body


def test_links_within_the_folder_are_files_of_it(folder: Path) -> None:
    """Fails when a repository that names a file by a link (a version, a digest) cannot be served."""
    assert find_file(folder, "targets/inside") == (folder / "metadata" / "timestamp.json").resolve()
    assert find_file(folder / "missing", "a") is None


def test_without_a_repository_there_is_none(fleet_page: str) -> None:
    """Fails when a collector without updates serves files."""
    assert ask(fleet_page, "/repo/metadata/timestamp.json").status == 404
