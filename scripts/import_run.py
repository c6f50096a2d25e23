"""Carries records into the database: encoded in parallel, stored in batches, resumable."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

from scripts.import_judging import Judge, Judged, no_portrait
from scripts.import_portraits import PortraitFolder
from scripts.import_report import Figures, Report
from scripts.import_rows import Record, Refusal, Row
from scripts.progress import Progress
from service.auth.service import Actor
from service.database import Database
from service.engine import Engine
from service.errors import RegistrationChangedError
from service.persons.comparison import stored_registrations
from service.persons.enrolment import PortraitFile, Prepared
from service.persons.schemas import PersonStored
from service.persons.service import Persons
from service.settings import Settings

BATCH_RECORDS = 200
"""Records of one transaction: its fixed cost is spread thin, and another writer waits a second at most."""

BATCH_BYTES = 64 * 2**20
"""Portrait bytes that close a batch early, so that large scans do not fill the memory."""

BATCHES_AHEAD = 2
"""Batches that are encoded while one is stored, so that the encoder never waits for the database."""

IMPORTER = Actor(kind="system", id=None, name="import")


@dataclass(frozen=True, slots=True)
class _Batch:
    """Records under way; those that failed already are given as their reasons.

    Attributes:
        last_line: Line of the last record.
        refused: Reasons against records whose fields break a rule, one tuple per record.
        judged: The others.
    """

    last_line: int
    refused: tuple[tuple[Refusal, ...], ...]
    judged: tuple[Future[Judged], ...]


class ImportRun:
    """One import into a database that others may be using."""

    def __init__(
        self,
        *,
        database: Database,
        engine: Engine,
        persons: Persons,
        settings: Settings,
        folder: PortraitFolder,
    ) -> None:
        """Keep the collaborators."""
        self._database = database
        self._contract_id = engine.pack.contract_id
        self._persons = persons
        self._folder = folder
        self._judge = Judge(persons=persons, folder=folder, settings=settings)
        # One caller more than engine threads keeps the engine busy while a file is read.
        self._callers = settings.threads + 1
        self._line = 0
        self.figures = Figures()

    def run(
        self, records: Iterable[tuple[int, Record]], *, report: Report, shown: Progress, stop: Event
    ) -> bool:
        """Take all records.

        Args:
            records: Line number and record, as `read_records` yields them.
            report: Gets every reason.
            shown: Told the lines that are done.
            stop: Once set, the batch at hand is finished and the rest is left.

        Returns:
            Whether the end was reached; False after `stop`.

        Raises:
            ServiceError: The database or the portrait store is away; finished batches are stored.
            ImportFileError: The file could not be read to its end; likewise.
        """
        pending: deque[_Batch] = deque()
        with ThreadPoolExecutor(self._callers, thread_name_prefix="import") as pool:
            try:
                for chunk in _chunks(records, self._folder.size):
                    pending.append(self._begin(chunk, pool))
                    if len(pending) > BATCHES_AHEAD or stop.is_set():
                        self._finish(pending.popleft(), report, shown)
                    if stop.is_set():
                        return False
                while pending:
                    self._finish(pending.popleft(), report, shown)
                    if stop.is_set() and pending:
                        return False
            finally:
                for future in (future for batch in pending for future in batch.judged):
                    future.cancel()
        return True

    def _begin(self, chunk: Sequence[tuple[int, Record]], pool: ThreadPoolExecutor) -> _Batch:
        rows = [record for _, record in chunk if isinstance(record, Row)]
        with self._database.read() as session:
            person_ids = [row.person_id for row in rows]
            stored = stored_registrations(session, person_ids, self._contract_id)
        return _Batch(
            last_line=chunk[-1][0],
            refused=tuple(record for _, record in chunk if not isinstance(record, Row)),
            judged=tuple(pool.submit(self._judge.judge, row, stored.get(row.person_id)) for row in rows),
        )

    def _finish(self, batch: _Batch, report: Report, shown: Progress) -> None:
        """Wait for a batch, store it in one transaction, count, and write its reasons down."""
        judged = [future.result() for future in batch.judged]
        prepared = [item.prepared for item in judged if item.prepared is not None]
        answers = self._store(prepared)
        refusals = [refusal for reasons in batch.refused for refusal in reasons]
        self.figures.refused += len(batch.refused)
        for item in judged:
            refusals += self._outcome(item, answers.get(item.row.person_id))
        report.add(sorted(refusals, key=lambda refusal: refusal.line))
        lines, self._line = batch.last_line - self._line, batch.last_line
        shown.advance(len(prepared))
        shown.advance(lines - len(prepared), worked=False)

    def _outcome(self, item: Judged, answer: PersonStored | Refusal | None) -> tuple[Refusal, ...]:
        """Count one record and return the reasons against it or its portraits."""
        refusals = item.refusals
        if isinstance(answer, PersonStored):
            self.figures.stored += 1
            self.figures.add_portraits(answer)
            if answer.enrolment.status == "refused":
                refusals = (*refusals, no_portrait(item.row))
        elif item.unchanged:
            self.figures.unchanged += 1
        else:
            self.figures.refused += 1
            return refusals if answer is None else (*refusals, _at(item.row, answer))
        self.figures.incomplete += bool(refusals)
        return refusals

    def _store(self, batch: Sequence[Prepared]) -> dict[str, PersonStored | Refusal]:
        """Store a batch; when one of its registrations was changed meanwhile, store each by itself."""
        if not batch:
            return {}
        try:
            stored = self._persons.store_prepared(batch, actor=IMPORTER)
        except RegistrationChangedError:
            return {prepared.person_id: self._store_alone(prepared) for prepared in batch}
        return {answer.person_id: answer for answer in stored}

    def _store_alone(self, prepared: Prepared) -> PersonStored | Refusal:
        portraits = prepared.portraits
        files = None if portraits is None else [PortraitFile(item.data, item.taken_on) for item in portraits]
        try:
            return self._persons.store(prepared.person_id, prepared.fields, files, actor=IMPORTER)
        except RegistrationChangedError as error:
            return Refusal(0, prepared.person_id, "", error.code, error.detail)


def _at(row: Row, refusal: Refusal) -> Refusal:
    return Refusal(row.line, refusal.person_id, refusal.field, refusal.reason, refusal.remedy)


def _chunks(
    records: Iterable[tuple[int, Record]], size: Callable[[str], int]
) -> Iterator[list[tuple[int, Record]]]:
    """Cut the records into batches of bounded number and bounded portrait bytes."""
    chunk: list[tuple[int, Record]] = []
    held = 0
    for line, record in records:
        chunk.append((line, record))
        held += sum(size(name) for name in record.portraits) if isinstance(record, Row) else 0
        if len(chunk) >= BATCH_RECORDS or held >= BATCH_BYTES:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk
