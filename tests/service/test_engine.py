"""The engine: bounded, patient only so long, and honest about what its jobs raise."""

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from index.errors import PackError, PortraitError
from index.pack import Pack, load_pack
from service.engine import Engine, find_pack, open_engine
from service.errors import OverloadedError, SearchTimeoutError, SettingsError
from service.settings import Settings
from tests.synthetic import synthetic_portrait

THREADS = 2
LONG_S = 20.0
"""Longer than any job here takes, on any machine."""


@pytest.fixture(scope="module")
def pack(synthetic_pack_dir: Path) -> Pack:
    return load_pack(synthetic_pack_dir)


@pytest.fixture
def engine(pack: Pack) -> Iterator[Engine]:
    opened = Engine(pack, threads=THREADS, queue_limit=1)
    yield opened
    opened.close()


class Held:
    """Jobs that last until they are let go."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._go = threading.Event()
        self._callers: list[threading.Thread] = []
        self.results: list[int] = []
        self.ran: list[int] = []

    def begin(self, count: int) -> None:
        """Start jobs and wait until all of them are known to the engine."""
        before = self._engine.pending
        for number in range(count):
            caller = threading.Thread(target=self._call, args=(number,))
            caller.start()
            self._callers.append(caller)
        wait_until(lambda: self._engine.pending == before + count)
        wait_until(lambda: len(self.ran) >= min(THREADS, count))

    def let_go(self) -> None:
        self._go.set()
        for caller in self._callers:
            caller.join()

    def _call(self, number: int) -> None:
        def job() -> int:
            self.ran.append(number)
            assert self._go.wait(LONG_S)
            return number

        self.results.append(self._engine.run(job, timeout_s=LONG_S))


@pytest.fixture
def held(engine: Engine) -> Iterator[Held]:
    jobs = Held(engine)
    yield jobs
    jobs.let_go()


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.001)


def test_job_runs_in_the_pool_and_its_result_comes_back(engine: Engine) -> None:
    name = engine.run(lambda: threading.current_thread().name, timeout_s=LONG_S)
    assert name.startswith("engine")


def test_one_job_more_than_threads_and_queue_hold_is_refused_at_once(engine: Engine, held: Held) -> None:
    held.begin(3)
    assert engine.pending == 3
    began = time.monotonic()
    with pytest.raises(OverloadedError):
        engine.run(lambda: 1, timeout_s=LONG_S)
    assert time.monotonic() - began < LONG_S / 4
    assert engine.pending == 3
    held.let_go()
    assert sorted(held.results) == [0, 1, 2]
    assert engine.run(lambda: 1, timeout_s=LONG_S) == 1


@pytest.mark.parametrize(
    "fault", [PortraitError("no-face", "No face."), ZeroDivisionError(), TimeoutError("the job's own")]
)
def test_what_a_job_raises_reaches_the_caller_and_frees_the_slot(engine: Engine, fault: Exception) -> None:
    def job() -> None:
        raise fault

    for _time in range(5):
        with pytest.raises(type(fault)) as caught:
            engine.run(job, timeout_s=LONG_S)
        assert caught.value is fault
    wait_until(lambda: engine.pending == 0)


def test_slow_job_is_given_up_and_its_slot_is_free_once_it_ends(engine: Engine) -> None:
    go = threading.Event()
    begun: list[int] = []

    def slow() -> None:
        begun.append(1)
        assert go.wait(LONG_S)

    while len(begun) < THREADS:
        with pytest.raises(SearchTimeoutError):
            engine.run(slow, timeout_s=0.01)
    with pytest.raises(SearchTimeoutError):
        engine.run(slow, timeout_s=0.01)
    # Those that run keep their slots; the last one never began, and its slot is free already.
    assert (engine.pending, len(begun)) == (THREADS, THREADS)
    go.set()
    wait_until(lambda: engine.pending == 0)
    assert engine.run(lambda: "done", timeout_s=LONG_S) == "done"


def test_job_that_was_given_up_before_it_began_never_runs(engine: Engine, held: Held) -> None:
    held.begin(2)
    ran: list[int] = []
    with pytest.raises(SearchTimeoutError):
        engine.run(lambda: ran.append(1), timeout_s=0.01)
    held.let_go()
    assert engine.run(lambda: len(ran), timeout_s=LONG_S) == 0
    assert ran == []


def test_result_that_arrives_with_the_time_limit_is_never_lost(engine: Engine) -> None:
    """Whatever the instant at which it ends: a result, or the time-out, and nothing else."""
    outcomes: set[object] = set()
    for number in range(60):
        try:
            outcomes.add(engine.run(lambda: time.sleep(0.002), timeout_s=0.0015 + number * 2e-5))
        except SearchTimeoutError:
            outcomes.add("late")
    assert outcomes <= {None, "late"}
    wait_until(lambda: engine.pending == 0)


def test_slots_survive_many_callers_and_faults(engine: Engine) -> None:
    answered: list[object] = []

    def call() -> None:
        for turn in range(30):
            try:
                answered.append(engine.run(partial(divmod, 1, turn % 3), timeout_s=LONG_S))
            except (ZeroDivisionError, OverloadedError) as fault:
                answered.append(type(fault).__name__)

    callers = [threading.Thread(target=call) for _caller in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(answered) == 180
    wait_until(lambda: engine.pending == 0)
    jobs = Held(engine)
    jobs.begin(3)
    jobs.let_go()
    assert len(jobs.results) == 3


def test_portrait_is_encoded_in_the_pool(engine: Engine, pack: Pack) -> None:
    extraction = engine.extract(synthetic_portrait(3), timeout_s=LONG_S)
    assert extraction.template is not None
    assert extraction.template.shape == (pack.dimension,)
    with pytest.raises(PortraitError):
        engine.extract(b"not a picture", timeout_s=LONG_S)


def test_closing_waits_for_what_runs_and_drops_what_waits(pack: Pack) -> None:
    engine = Engine(pack, threads=1, queue_limit=4)
    begun, go, ended = threading.Event(), threading.Event(), threading.Event()
    dropped: list[str] = []

    def slow() -> None:
        begun.set()
        assert go.wait(LONG_S)
        ended.set()

    def wait_in_vain() -> None:
        try:
            engine.run(lambda: None, timeout_s=LONG_S)
        except Exception as fault:
            dropped.append(type(fault).__name__)

    running = threading.Thread(target=lambda: engine.run(slow, timeout_s=LONG_S))
    running.start()
    assert begun.wait(LONG_S)
    waiting = threading.Thread(target=wait_in_vain)
    waiting.start()
    wait_until(lambda: engine.pending == 2)
    threading.Timer(0.3, go.set).start()
    engine.close()
    assert ended.is_set()
    running.join()
    waiting.join()
    assert dropped == ["OverloadedError"]
    with pytest.raises(OverloadedError):
        engine.run(lambda: None, timeout_s=LONG_S)
    assert engine.pending == 0


def test_pack_is_found_by_directory_and_by_name(synthetic_pack_dir: Path, tmp_path: Path) -> None:
    by_directory = Settings(data_dir=tmp_path, pack=str(synthetic_pack_dir))
    assert find_pack(by_directory) == synthetic_pack_dir
    (tmp_path / "packs").symlink_to(synthetic_pack_dir.parent)
    by_name = Settings(data_dir=tmp_path, pack=synthetic_pack_dir.name)
    assert find_pack(by_name) == tmp_path / "packs" / synthetic_pack_dir.name


def test_missing_pack_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="oneperson pack add"):
        open_engine(Settings(data_dir=tmp_path, pack="nothing"))


def test_damaged_pack_is_not_loaded(synthetic_pack_dir: Path, tmp_path: Path) -> None:
    for file in synthetic_pack_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = bytearray((tmp_path / "encoder.onnx").read_bytes())
    weights[len(weights) // 2] ^= 1
    (tmp_path / "encoder.onnx").write_bytes(weights)
    with pytest.raises(PackError):
        open_engine(Settings(data_dir=tmp_path, pack=str(tmp_path)))
