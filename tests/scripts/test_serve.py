"""`oneperson serve` as a process: it starts, answers, says no clearly, and stops in good order."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.scripts.commands import Operator

pytestmark = pytest.mark.enable_socket

STARTING_S = 60.0


@pytest.fixture
def environment(tmp_path: Path, synthetic_pack_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ONEPERSON_")}
    return kept | {
        "ONEPERSON_DATA_DIR": str(tmp_path / "var"),
        "ONEPERSON_PACK": str(synthetic_pack_dir),
        "ONEPERSON_GALLERY_BACKEND": "exact",
        "ONEPERSON_THREADS": "1",
    }


@contextmanager
def serving(environment: dict[str, str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    """Run the command; gives the process, its address once it accepts connections, and its log."""
    log = folder / "serve.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "scripts", "serve", "--port", "0"]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield process, _address(process, log), log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + STARTING_S
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        if found is not None and _accepts(found[0]):
            return found[0]
        time.sleep(0.05)
    pytest.fail(f"it did not start: {log.read_text()}")


def _accepts(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/healthz").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_stops_in_good_order(
    stop: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    with serving(environment, tmp_path) as (process, address, log):
        assert httpx2.get(f"{address}/readyz").status_code == 200
        process.send_signal(stop)
        assert process.wait(20) == 0
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    events = [line["event"] for line in lines]
    assert "listening" in events
    assert events[-1] == "stopping"
    assert {line.get("route") for line in lines if line["event"] == "request"} == {"/healthz", "/readyz"}
    assert (tmp_path / "var").stat().st_mode & 0o077 == 0


def test_a_request_that_is_under_way_is_finished_before_it_stops(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with serving(environment, tmp_path) as (process, address, _log):
        host = urlsplit(address)
        with socket.create_connection((host.hostname or "", host.port or 0), timeout=20) as connection:
            head = "POST /v1/checks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: 2\r\n\r\n{{".encode())
            time.sleep(0.3)
            process.terminate()
            time.sleep(0.5)
            connection.sendall(b"}")
            assert connection.recv(65536).startswith(b"HTTP/1.1 401")
        assert process.wait(20) == 0


@pytest.fixture
def operator(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Operator:
    monkeypatch.chdir(tmp_path)
    typist = Operator(monkeypatch, capsys)
    for name, value in environment.items():
        if name.startswith("ONEPERSON_"):
            typist.set(name.removeprefix("ONEPERSON_"), value)
    return typist


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = operator.types("serve", "--port", str(taken.getsockname()[1]))
    assert done.code == 1
    assert "choose another" in done.err
    assert "gallery-loaded" not in done.err


def test_an_address_that_is_not_ours_is_told(operator: Operator) -> None:
    done = operator.types("serve", "--host", "203.0.113.1")
    assert done.code == 1
    assert "203.0.113.1" in done.err


def test_a_pack_that_is_missing_is_told_with_its_remedy(operator: Operator) -> None:
    operator.set("pack", "no-such-pack")
    done = operator.types("serve", "--port", "0")
    assert done.code == 2
    assert "oneperson pack" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_a_database_that_is_away_is_told(operator: Operator, tmp_path: Path) -> None:
    operator.set("database_url", f"postgresql+psycopg://nobody@/nothing?host={tmp_path}")
    done = operator.types("serve", "--port", "0")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("oneperson: The database cannot be used now")
    assert "Traceback" not in done.err
