"""Nothing is taken from the network but the very bytes that were expected."""

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from index.errors import PackError
from scripts.pack_download import SOURCES, Download, PackSource, fetch, fetch_file, unpack

Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A real HTTP server on this machine that answers as it is told."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = outer.answers.get(self.path)
                if answer is None:
                    self.send_error(404)
                else:
                    answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def serve(self, path: str, content: bytes, *, length: int | None = None) -> str:
        self.answers[path] = partial(send, content=content, length=length)
        return self.url + path

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def send(request: BaseHTTPRequestHandler, *, content: bytes, length: int | None = None) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    request.wfile.write(content)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for one test."""
    running = Server()
    yield running
    running.close()


CONTENT = bytes(range(256)) * 9000


def expected(content: bytes = CONTENT, url: str = "http://unused/model.onnx") -> Download:
    return Download(url, hashlib.sha256(content).hexdigest(), len(content))


def get(url: str, target: Path, download: Download, *, timeout_s: float = 5.0) -> int:
    chunks: list[None] = []
    fetch_file(url, target, download, timeout_s=timeout_s, report=lambda: chunks.append(None))
    return len(chunks)


def test_the_expected_file_is_taken(server: Server, tmp_path: Path) -> None:
    chunks = get(server.serve("/model.onnx", CONTENT), tmp_path / "m", expected())
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert chunks == 3


def test_a_redirection_is_followed(server: Server, tmp_path: Path) -> None:
    def redirect(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("Location", "/there")
        request.end_headers()

    server.serve("/there", CONTENT)
    server.answers["/here"] = redirect
    get(server.url + "/here", tmp_path / "m", expected())
    assert (tmp_path / "m").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (CONTENT[:-1] + b"x", "SHA-256 is"),
        (CONTENT[:-5], "SHA-256 is"),
        (b"", "SHA-256 is"),
        (CONTENT + b"more", "longer than the 2304000 bytes expected"),
    ],
)
def test_another_file_is_not_taken(server: Server, tmp_path: Path, content: bytes, named: str) -> None:
    with pytest.raises(PackError, match=named):
        get(server.serve("/model.onnx", content), tmp_path / "m", expected())
    assert not (tmp_path / "m").exists()


def test_an_endless_answer_is_cut_off(server: Server, tmp_path: Path) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(bytes(1 << 20))
        except OSError:
            pass

    server.answers["/model.onnx"] = endless
    with pytest.raises(PackError, match="longer than"):
        get(server.url + "/model.onnx", tmp_path / "m", expected())


def test_a_connection_that_breaks_off_is_an_error(server: Server, tmp_path: Path) -> None:
    url = server.serve("/model.onnx", CONTENT[:1000], length=len(CONTENT))
    with pytest.raises(PackError, match="could not be fetched"):
        get(url, tmp_path / "m", expected())
    assert not (tmp_path / "m").exists()


def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path) -> None:
    released = threading.Event()

    def silent(_request: BaseHTTPRequestHandler) -> None:
        released.wait(10)

    server.answers["/model.onnx"] = silent
    began = time.monotonic()
    with pytest.raises(PackError, match="could not be fetched"):
        get(server.url + "/model.onnx", tmp_path / "m", expected(), timeout_s=0.2)
    assert time.monotonic() - began < 5
    released.set()


@pytest.mark.parametrize(("path", "named"), [("/nowhere", "answered 404"), (":bad", "could not be fetched")])
def test_an_address_without_the_file_is_an_error(
    server: Server, tmp_path: Path, path: str, named: str
) -> None:
    with pytest.raises(PackError, match=named):
        get(server.url + path, tmp_path / "m", expected())


def test_a_folder_that_cannot_be_written_is_an_error(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PackError, match="cannot be written"):
        get(server.serve("/model.onnx", CONTENT), tmp_path / "no" / "m", expected())


def archive(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members:
            opened.writestr(name, content)
    return buffer.getvalue()


def wanted(*members: tuple[str, bytes]) -> tuple[tuple[str, str], ...]:
    return tuple((name, hashlib.sha256(content).hexdigest()) for name, content in members)


def test_only_the_wanted_files_are_taken_out(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive(("pack/d.onnx", b"dd"), ("e.onnx", b"ee"), ("evil.sh", b"x")))
    unpack(tmp_path / "a.zip", tmp_path, wanted(("d.onnx", b"dd"), ("e.onnx", b"ee")))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "d.onnx", "e.onnx"]


def test_a_path_out_of_the_folder_leads_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "a.zip").write_bytes(archive(("../../d.onnx", b"dd")))
    unpack(tmp_path / "a.zip", folder, wanted(("d.onnx", b"dd")))
    assert [path.name for path in folder.iterdir()] == ["d.onnx"]
    assert not (tmp_path.parent / "d.onnx").exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (archive(("other.onnx", b"dd")), "0 times, expected once"),
        (archive(("a/d.onnx", b"dd"), ("b/d.onnx", b"dd")), "2 times, expected once"),
        (archive(("d.onnx", b"changed")), "SHA-256 is"),
        (b"no archive", "no readable ZIP archive"),
        (archive(("d.onnx", b"dd" * 999))[:-30], "no readable ZIP archive"),
    ],
    ids=["not in it", "twice in it", "changed", "no archive", "cut off"],  # Archives hold the time of day.
)
def test_an_archive_that_is_not_the_one_is_refused(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(PackError, match=named):
        unpack(tmp_path / "a.zip", tmp_path, wanted(("d.onnx", b"dd")))
    assert not (tmp_path / "d.onnx").exists()


def source(*downloads: Download) -> PackSource:
    return replace(SOURCES["opencv-zoo"], downloads=downloads)


def test_a_mirror_serves_the_same_names(server: Server, tmp_path: Path) -> None:
    packed = archive(("d.onnx", b"dd"))
    zipped = replace(expected(packed, "https://example.org/x/p.zip"), members=wanted(("d.onnx", b"dd")))
    plain = expected(b"ee", "https://example.org/y/e.onnx?x=1")
    server.serve("/packs/p.zip", packed)
    server.serve("/packs/e.onnx", b"ee")
    fetch(source(zipped, plain), tmp_path, timeout_s=5, mirror=server.url + "/packs/", report=lambda: None)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"d.onnx": b"dd", "e.onnx": b"ee"}


@pytest.mark.parametrize("name", ["buffalo_l", "opencv-zoo"])
def test_published_packs_are_described_in_full(name: str, tmp_path: Path) -> None:
    published = SOURCES[name]
    sums = [d.sha256 for d in published.downloads] + [s for d in published.downloads for _, s in d.members]
    assert all(len(sha256) == 64 and int(sha256, 16) for sha256 in sums)
    assert all(download.url.startswith("https://") for download in published.downloads)
    files = {d.file_name for d in published.downloads} | {
        m for d in published.downloads for m, _ in d.members
    }
    assert {published.detector, published.encoder} <= files
    assert published.licence
    assert published.licence_url.startswith("https://")
    recipe = published.recipe(tmp_path, name="x")
    assert recipe.mean == (published.mean,) * 3
