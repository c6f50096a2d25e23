import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from scripts.cli import main; main()", "demo"]


def environment(tmp_path: Path) -> dict[str, str]:
    """Leave the settings of whoever runs the tests out."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ONEPERSON_")}
    return clean | {
        "ONEPERSON_DATA_DIR": str(tmp_path / "var"),
        "ONEPERSON_THREADS": "2",
        "PYTHONPATH": str(ROOT),
    }


@pytest.mark.faces
def test_demo_finds_the_person_who_is_registered_twice_and_lets_the_stranger_pass(
    tmp_path: Path, shared_dir: Path
) -> None:
    run = subprocess.run(
        [*COMMAND, "--once", "--port", "0"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("Instruction: hold.") == run.stdout.count("Instruction: proceed.") == 1
    first = run.stdout.split("Somebody who is not in the gallery")[0]
    assert re.search(r"1 +DEMO-0001 +示例一", first)
    assert "Simulated" in run.stdout
    assert "Invented" in run.stdout
    assert re.search(r"Review page: http://127\.0\.0\.1:\d+/cases/", first)


@pytest.mark.faces
def test_demo_stays_up_until_it_is_interrupted_and_its_keys_work(tmp_path: Path, shared_dir: Path) -> None:
    running = subprocess.Popen(
        [*COMMAND, "--port", "0"],
        cwd=tmp_path,
        env=environment(tmp_path) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        lines = []
        for line in running.stdout:
            lines.append(line)
            if "until Ctrl-C" in line:
                break
        text = "".join(lines)
        address = re.findall(r"http://127\.0\.0\.1:\d+", text)[-1]
        password = re.findall(r"demo-first +([0-9A-Z-]{23})", text)[0]
        with httpx.Client(base_url=address, trust_env=False) as browser:
            answer = browser.post("/sign-in", data={"login": "demo-first", "password": password})
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert browser.get("/").status_code == 200
        assert httpx.get(f"{address}/readyz", trust_env=False).status_code == 200
    finally:
        running.send_signal(signal.SIGINT)
        rest, _ = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "Stopped." in rest
