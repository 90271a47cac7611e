"""Tests of the download against a server on the loopback interface."""

import http.server
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from data_samples import Load, noise

from vaelab import UsageError
from vaelab.data.download import PUBLISHED, Published, download, git_blob_id

CONTENT = bytes(range(256)) * 1000


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder silently; what is called cut.npz ends before its announced length."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path != "/cut.npz":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])
        return None


@pytest.fixture
def served(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    return tmp_path / "served"


@pytest.fixture
def site(served: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def refused(url: str, target: Path, blob_id: str, *words: str) -> None:
    with pytest.raises(UsageError) as error:
        download(url, target, blob_id)
    assert "\n" not in str(error.value)
    for word in (url, str(target), *words):
        assert word in str(error.value)
    assert not target.parent.exists() or not list(target.parent.iterdir())


def test_blob_id_is_gits(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello\n")
    assert git_blob_id(tmp_path / "x") == "ce013625030ba8dba906f756967f9e9ca394464a"
    (tmp_path / "x").write_bytes(CONTENT)
    out = subprocess.run(
        ["git", "hash-object", "x"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert git_blob_id(tmp_path / "x") == out.stdout.strip()


def test_download_shows_progress_and_keeps_the_bytes(
    served: Path, site: str, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (served / "x.bin").write_bytes(CONTENT)
    target = download(f"{site}/x.bin", data_dir / "x.bin", git_blob_id(served / "x.bin"))
    assert target.read_bytes() == CONTENT
    assert list(data_dir.iterdir()) == [target]
    shown = capsys.readouterr().err
    assert "x.bin" in shown
    assert "100%" in shown


def test_other_bytes_are_refused(served: Path, site: str, data_dir: Path) -> None:
    (served / "x.bin").write_bytes(CONTENT)
    refused(f"{site}/x.bin", data_dir / "x.bin", "0" * 40, "changed")


def test_cut_download_is_refused(served: Path, site: str, data_dir: Path) -> None:
    refused(f"{site}/cut.npz", data_dir / "cut.npz", "0" * 40, "incomplete")


def test_missing_page_is_refused(site: str, data_dir: Path) -> None:
    refused(f"{site}/none.npz", data_dir / "none.npz", "0" * 40, "404")


def test_no_network_is_one_line(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refused(f"http://127.0.0.1:{unused.getsockname()[1]}/x.npz", data_dir / "x.npz", "0" * 40)


def test_unwritable_target(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UsageError, match="cannot write"):
        download("http://127.0.0.1/x.npz", tmp_path / "file" / "x.npz", "0" * 40)


def test_load_fetches_once_what_is_published(
    served: Path, site: str, load_data: Load, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(served / "x.npz", image=noise(60))
    published = Published(f"{site}/x.npz", git_blob_id(served / "x.npz"))
    monkeypatch.setitem(PUBLISHED, "published", published)
    remote = {"name": "published", "files": ["x.npz"]}
    first = load_data(**remote)
    np.testing.assert_array_equal(first.images, noise(60))
    assert first.source == str(data_dir / "x.npz")
    (served / "x.npz").unlink()
    assert load_data(**remote).fingerprint == first.fingerprint
    (data_dir / "x.npz").unlink()  # what was prepared is enough
    assert load_data(**remote).fingerprint == first.fingerprint


def test_what_is_published_is_fetched_over_https_only() -> None:
    assert PUBLISHED
    assert all(urlparse(published.url).scheme == "https" for published in PUBLISHED.values())
