"""Records in a file with a signed manifest beside it: written, and verified again by whoever holds both."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from service.audit.findings import Damage, Findings, Progress
from service.audit.keys import AuditKey, KeyRing, file_hash, signature_fits
from service.audit.links import Links
from service.audit.records import BATCH, FIELDS, TIME_FORMAT, Record
from service.errors import InvalidRequestError
from service.tables import now

FORMAT = "oneperson-audit-export-1"
FileFormat = Literal["jsonl", "csv"]

RISKY = ("=", "+", "-", "@", "'", "\t", "\r")
"""What a cell must not begin with, or a spreadsheet may run it (OWASP, CSV injection)."""


@dataclass(frozen=True, slots=True)
class Written:
    """What stands in a file of records.

    Attributes:
        count: How many records.
        first: Number of the first; 0 if there is none.
        last: Number of the last; 0 if there is none.
        previous_mac: The code before the first.
        last_mac: The code of the last.
        sha256: Of the file.
        last_record: The last record itself.
    """

    count: int
    first: int
    last: int
    previous_mac: str
    last_mac: str
    sha256: str
    last_record: Record | None


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a file lies."""
    return path.with_name(path.name + ".manifest.json")


def file_format(path: Path) -> FileFormat:
    """Tell the format by the ending.

    Raises:
        InvalidRequestError: Another ending.
    """
    match path.suffix.lower():
        case ".jsonl":
            return "jsonl"
        case ".csv":
            return "csv"
    raise InvalidRequestError("Name the file .jsonl or .csv.")


def write_records(records: Iterable[Record], path: Path, progress: Progress = lambda _: None) -> Written:
    """Write records to a file that does not exist yet.

    Raises:
        InvalidRequestError: The ending is unknown.
        OSError: The file exists or cannot be written.
    """
    first = last = None
    count = 0
    as_csv = file_format(path) == "csv"
    with path.open("x", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        if as_csv:
            table.writerow(FIELDS)
        for record in records:
            if as_csv:
                table.writerow([record.id, *map(_cell, record[1:])])
            else:
                file.write(json.dumps(record._asdict()) + "\n")
            first, last, count = first or record, record, count + 1
            if count % BATCH == 0:
                progress(BATCH)
    progress(count % BATCH)
    return Written(
        count=count,
        first=first.id if first else 0,
        last=last.id if last else 0,
        previous_mac=(first.previous_mac or "") if first else "",
        last_mac=(last.mac or "") if last else "",
        sha256=file_hash(path),
        last_record=last,
    )


def write_manifest(path: Path, written: Written, key: AuditKey, **facts: Any) -> dict[str, Any]:
    """Sign what stands in a file, beside it.

    Args:
        path: The file of records.
        written: What stands in it.
        key: Signs.
        facts: What else to state: the chain, the period.

    Returns:
        The manifest.
    """
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "file": path.name,
        "made_at": now().strftime(TIME_FORMAT),
        "count": written.count,
        "first": written.first,
        "last": written.last,
        "previous_mac": written.previous_mac,
        "last_mac": written.last_mac,
        "sha256": written.sha256,
        "key": key.tag,
        "public_key": key.public_key,
        **facts,
    }
    manifest["signature"] = key.sign(_signed_part(manifest))
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    manifest_path(path).write_text(text, encoding="utf-8")
    return manifest


def count_in_file(path: Path) -> int:
    """Return how many records a file should hold by its manifest.

    Raises:
        InvalidRequestError: There is no manifest.
    """
    return int(_read_manifest(path).get("count") or 0)


def verify_file(
    path: Path, keys: KeyRing, *, public_key: str | None = None, progress: Progress = lambda _: None
) -> Findings:
    """Verify an export or an archive.

    Args:
        path: The file of records; its manifest lies beside it.
        keys: With them every single record is verified.
        public_key: Without the keys only signature and content of the whole file can be verified, with this.
        progress: Told after every batch.

    Raises:
        InvalidRequestError: The file or its manifest cannot be read as such.
    """
    findings = Findings()
    manifest = _read_manifest(path)
    signer = keys.find(str(manifest.get("key")))
    signature, signed = str(manifest.get("signature")), _signed_part(manifest)
    if public_key is not None:
        fits = signature_fits(public_key, signed, signature)
    else:
        fits = signer is not None and signer.signed(signed, signature)
    if not fits:
        findings.add(
            Damage.FILE, 0, detail="the manifest's signature does not fit; was it made with another key?"
        )
    if file_hash(path) != manifest.get("sha256"):
        findings.add(Damage.FILE, 0, detail="the file is not the one that the manifest was made for")
    if public_key is None:
        _walk(path, manifest, keys, findings, progress)
    return findings


def _walk(
    path: Path, manifest: dict[str, Any], keys: KeyRing, findings: Findings, progress: Progress
) -> None:
    first, last = int(manifest["first"]), int(manifest["last"])
    links = Links(
        findings, keys, following=first, link=str(manifest["previous_mac"]), key_tag=None, places=lambda _: []
    )
    for record in read_file(path):
        if last < record.id:
            links.foreign(record)
        else:
            links.step(record)
        if findings.records % BATCH == 0:
            progress(BATCH)
    if last and links.following - 1 < last:
        findings.add(Damage.TRUNCATED, links.following, last)
    elif links.last_own is not None and links.last_own.mac != manifest["last_mac"]:
        findings.add(Damage.CHANGED, last, detail="the manifest holds another code for it")


def read_file(path: Path) -> Iterator[Record]:
    """Read records from a file.

    Raises:
        InvalidRequestError: It is not such a file.
    """
    as_csv = file_format(path) == "csv"
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = _csv_rows(file) if as_csv else _json_rows(file)
        for line, row in enumerate(rows, start=1):
            try:
                yield Record(int(row[0] or ""), *(row[1:]))
            except (ValueError, TypeError):
                raise InvalidRequestError(f"{path.name}: record {line} of the file cannot be read.") from None


def _csv_rows(file: IO[str]) -> Iterator[list[str | None]]:
    reader = csv.reader(file)
    next(reader, None)
    for row in reader:
        yield [_value(cell) for cell in row]


def _json_rows(file: IO[str]) -> Iterator[list[Any]]:
    for line in file:
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            told = None
        yield [told.get(name) for name in FIELDS] if isinstance(told, dict) else []


def _cell(value: str | None) -> str:
    """Return a text for a cell; no field of an event is an empty text, so an empty cell is none at all."""
    if value is None:
        return ""
    return f"'{value}" if value.startswith(RISKY) else value


def _value(cell: str) -> str | None:
    return cell.removeprefix("'") or None


def _read_manifest(path: Path) -> dict[str, Any]:
    beside = manifest_path(path)
    try:
        manifest = json.loads(beside.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT or not all(
            isinstance(manifest[key], int) for key in ("first", "last")
        ):
            raise ValueError
        str(manifest["previous_mac"]), str(manifest["last_mac"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidRequestError(f"{beside.name}: there is no manifest that this version reads.") from None
    return dict(manifest)


def _signed_part(manifest: dict[str, Any]) -> bytes:
    facts = {name: value for name, value in manifest.items() if name != "signature"}
    return b"oneperson audit export " + json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
