"""Import files that are damaged in every way: each line is taken, or refused with a reason."""

import contextlib
import csv
import io
import tempfile
from pathlib import Path
from typing import Literal

from hypothesis import strategies as st

from scripts.import_portraits import PortraitFileError, PortraitFolder
from scripts.import_rows import (
    COLUMNS,
    OPTIONAL_COLUMNS,
    Encoding,
    ImportFileError,
    Row,
    count_lines,
    looks_like_utf8,
    read_records,
)
from tests.fuzzing import Bounds, fuzz, mutated

VALUES = {
    "person_id": ["P-1", "P-2", "", "  ", "P" * 65, "é", "-P", "P\n1", "\0"],
    "citizen_id_number": [
        "11010519491231002X",
        "11010519491231002x",
        "440524188001010014",
        "1" * 18,
        "１" * 18,
    ],
    "name": ["示例一", "𠮷野·买买提", "a" * 51, "\x7f", "\u200b", "=1+1", '"', "x,y", "\ufeff"],
    "sex": ["0", "1", "2", "9", "3", "女"],
    "birth_date": [
        "1949-12-31",
        "0000-00-00",
        "9999-12-31",
        "1e9",
        "-1",
        "1949/12/31",
        "99999999999999999999",
    ],
    "ethnicity": ["01", "97", "1", "٠١"],
    "division_code": ["530102", "530102001", "530102001001", "53010", "五三〇一〇二"],
    "level_code": ["30", "", "3" * 9, "Ａ"],
    "category": ["11", "00", "x"],
    "portrait": [
        "a.jpg",
        "a.jpg;b.jpg",
        ";" * 40,
        "../../etc/passwd",
        "/etc/passwd",
        "a\\b",
        "a/../../b",
        "a" * 300,
    ],
    "father_id_number": ["11010519491231002X", "0"],
    "mother_id_number": ["", "X" * 18],
}
ENDS = ["\n", "\r\n", "\r", "\n\n", ""]
ENCODINGS: list[Encoding] = ["utf-8", "gb18030"]


def file_of(data: st.DataObject, encoding: Encoding) -> bytes:
    """Write rows of ordinary and odd values, as a careless program would, then damage the bytes."""
    columns = list(COLUMNS) + data.draw(st.sampled_from([[], list(OPTIONAL_COLUMNS), ["name"]]))
    written = io.StringIO()
    quoting: Literal[0, 1] = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(written, quoting=quoting, lineterminator=data.draw(st.sampled_from(ENDS)))
    writer.writerow(columns)
    for _ in range(data.draw(st.integers(0, 6))):
        row = [data.draw(st.sampled_from(VALUES[name]) | st.text(max_size=12)) for name in columns]
        writer.writerow(row[: data.draw(st.sampled_from([len(row)] * 4 + [len(row) - 1]))])
    text = data.draw(st.sampled_from(["", "\ufeff"])) + written.getvalue()
    content = (
        text.encode(data.draw(st.sampled_from([encoding, *ENCODINGS])), errors="surrogatepass")
        if (encoding == "utf-8")
        else text.encode("gb18030", errors="replace")
    )
    if data.draw(st.integers(0, 9)) == 0:
        content += b"x" * data.draw(st.sampled_from([2**16, 2**16 + 1, 2**20])) + b"\n" + content
    return mutated(data, content)


def every_line_has_a_fate(data: st.DataObject) -> None:
    encoding = data.draw(st.sampled_from(ENCODINGS))
    content = file_of(data, encoding)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(content)
        lines = count_lines(path)
        looks_like_utf8(path)
        try:
            records = list(read_records(path, encoding))
        except ImportFileError:
            return
        numbers = [number for number, _ in records]
        assert numbers == sorted(set(numbers))
        assert all(1 < number <= lines for number in numbers)
        blank = sum(not line.strip() for line in content.split(b"\n")[1:])
        assert len(numbers) >= lines - 1 - blank, "a line that is not blank was passed over"
        taken = [record for _, record in records if isinstance(record, Row)]
        assert len({row.person_id for row in taken}) == len(taken)
        for record in (record for _, record in records if not isinstance(record, Row)):
            assert record
            assert all(refusal.reason and refusal.remedy for refusal in record)
        _only_files_of_the_folder(Path(folder) / "pictures", taken)


def _only_files_of_the_folder(folder: Path, rows: list[Row]) -> None:
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"inside")
    pictures = PortraitFolder(folder)
    for name in (name for row in rows for name in row.portraits):
        assert pictures.size(name) >= 0
        with contextlib.suppress(PortraitFileError):
            assert pictures.read(name) == b"inside"


def test_every_line_of_a_damaged_file_is_taken_or_refused() -> None:
    fuzz(every_line_has_a_fate, Bounds(examples=100))
