import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.import_rows import (
    COLUMNS,
    MAX_LINE_BYTES,
    OPTIONAL_COLUMNS,
    Encoding,
    ImportFileError,
    Record,
    Refusal,
    Row,
    count_lines,
    looks_like_utf8,
    read_records,
)

HEADER = ",".join(COLUMNS)
GOOD = {
    "person_id": "P-1",
    "citizen_id_number": "11010519491231002X",
    "name": "示例一",
    "sex": "2",
    "birth_date": "1949-12-31",
    "ethnicity": "01",
    "division_code": "530102",
    "level_code": "30",
    "category": "11",
    "portrait": "a.jpg",
}


def line(**changes: str) -> str:
    written = io.StringIO()
    csv.writer(written).writerow((GOOD | changes)[name] for name in COLUMNS)
    return written.getvalue().rstrip("\r\n")


def records(tmp_path: Path, content: str | bytes, encoding: Encoding = "utf-8") -> list[Record]:
    path = tmp_path / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return [record for _, record in read_records(path, encoding)]


def only_refusal(tmp_path: Path, text: str) -> Refusal:
    (record,) = records(tmp_path, f"{HEADER}\n{text}\n")
    assert isinstance(record, tuple)
    (refusal,) = record
    return refusal


def only_row(found: list[Record]) -> Row:
    (record,) = found
    assert isinstance(record, Row)
    return record


def test_a_good_line_becomes_a_registration(tmp_path: Path) -> None:
    row = only_row(records(tmp_path, f"{HEADER}\n{line()}\n"))
    assert (row.line, row.person_id, row.portraits) == (2, "P-1", ("a.jpg",))
    assert row.fields.name == "示例一"
    assert str(row.fields.birth_date) == "1949-12-31"


def test_empty_fields_are_left_out(tmp_path: Path) -> None:
    empty = {name: "" for name in COLUMNS if name not in ("person_id", "level_code")}
    row = only_row(records(tmp_path, f"{HEADER}\n{line(**empty)}\n"))
    assert row.portraits == ()
    assert row.fields.name is None
    assert row.fields.citizen_id_number is None


def test_columns_may_stand_in_another_order_and_lines_end_as_on_windows(tmp_path: Path) -> None:
    names = list(reversed(COLUMNS))
    content = ",".join(names) + "\r\n" + ",".join(GOOD[name] for name in names) + "\r\n"
    assert only_row(records(tmp_path, content)).person_id == "P-1"


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["示例一", "买买提·示例", "𠮷𡈽示例", "龦㐀𬺈"])
def test_the_whole_repertoire_is_read_in_both_encodings_with_and_without_mark(
    tmp_path: Path, encoding: Encoding, mark: str, name: str
) -> None:
    content = f"{mark}{HEADER}\n{line(name=name)}"
    assert only_row(records(tmp_path, content, encoding)).fields.name == name


@given(name=st.text(st.characters(categories=["Lo"], codec="gb18030"), min_size=1, max_size=50))
def test_no_character_breaks_the_cutting_of_gb18030(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    found = records(folder, f"{HEADER}\n{line(name=name)}\n{line(person_id='P-2')}\n", "gb18030")
    assert [r.fields.name for r in found if isinstance(r, Row)] == [name, "示例一"]


def test_undecodable_bytes_are_reported_with_their_line_and_never_stored(tmp_path: Path) -> None:
    good, bad = line().encode(), line(person_id="P-2").replace("示例一", "XX").encode()
    content = HEADER.encode() + b"\n" + good + b"\n" + bad.replace(b"XX", b"\xb0\xa1") + b"\n"
    first, second = records(tmp_path, content)
    assert isinstance(first, Row)
    assert isinstance(second, tuple)
    assert (second[0].line, second[0].person_id, second[0].field) == (3, "P-2", "name")
    assert "b0" in second[0].reason
    assert "utf-8" in second[0].reason


@pytest.mark.parametrize("damage", [b"\xff", b"\x80", b"\x81\x20", b"\x81\x30\x81", b"\xfe\x39\xfe\x39"])
def test_bytes_outside_gb18030_are_reported_and_the_next_line_is_read(tmp_path: Path, damage: bytes) -> None:
    bad = line(name="XX").encode().replace(b"XX", damage)
    content = HEADER.encode() + b"\n" + bad + b"\n" + line(person_id="P-2").encode("gb18030")
    first, second = records(tmp_path, content, "gb18030")
    assert isinstance(first, tuple)
    assert first[0].line == 2
    assert isinstance(second, Row)


def test_the_declared_encoding_decides(tmp_path: Path) -> None:
    content = f"{HEADER}\n{line()}\n".encode("gb18030")
    (record,) = records(tmp_path, content, "utf-8")
    assert isinstance(record, tuple)


def test_utf8_that_was_declared_otherwise_can_be_noticed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    text = "\n".join([HEADER, *(line(person_id=f"P-{at}") for at in range(5)), ""])
    path.write_text(text, encoding="utf-8")
    assert looks_like_utf8(path)
    path.write_text(text, encoding="gb18030")
    assert not looks_like_utf8(path)
    path.write_text(HEADER + "\n", encoding="utf-8")
    assert not looks_like_utf8(path)


def test_missing_unknown_and_repeated_columns_are_named(tmp_path: Path) -> None:
    columns = [*COLUMNS[:-1], "photo", "name"]
    with pytest.raises(ImportFileError, match=r"missing portrait; unknown 'photo'; repeated name"):
        records(tmp_path, ",".join(columns) + "\n")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\xfep\x00e\x00", b"PK\x03\x04\x00\xff\xfe", b"a;b;c\n"]
)
def test_files_that_are_no_such_csv_are_unusable(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ImportFileError):
        records(tmp_path, content)


def test_a_file_that_is_not_there_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="No such file"):
        list(read_records(tmp_path / "none.csv", "utf-8"))
    with pytest.raises(ImportFileError, match="No such file"):
        count_lines(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"person_id": "../1"}, "person_id", "pattern"),
        ({"person_id": ""}, "person_id", "pattern"),
        ({"citizen_id_number": "110105194912310021"}, "citizen_id_number", "check character"),
        ({"name": "x" * 51}, "name", "50 characters"),
        ({"sex": "f"}, "sex", "'0', '1', '2' or '9'"),
        ({"birth_date": "31.12.1949"}, "birth_date", "date"),
        ({"birth_date": "1949-02-30"}, "birth_date", "date"),
        ({"ethnicity": "1"}, "ethnicity", "pattern"),
        ({"division_code": "5301"}, "division_code", "pattern"),
        ({"level_code": ""}, "level_code", "required"),
        ({"category": "x"}, "category", "pattern"),
        ({"portrait": ";".join(f"{at}.jpg" for at in range(21))}, "portrait", "more than 20"),
    ],
)
def test_a_field_that_breaks_a_rule_is_named_with_reason_and_remedy(
    tmp_path: Path, changes: dict[str, str], column: str, reason: str
) -> None:
    refusal = only_refusal(tmp_path, line(**changes))
    assert (refusal.line, refusal.field) == (2, column)
    assert reason in refusal.reason
    assert refusal.remedy
    assert refusal.person_id == ("" if column == "person_id" else "P-1")


def test_every_fault_of_a_line_is_named(tmp_path: Path) -> None:
    (record,) = records(tmp_path, f"{HEADER}\n{line(sex='f', category='x')}\n")
    assert isinstance(record, tuple)
    assert {refusal.field for refusal in record} == {"sex", "category"}


def test_reasons_and_remedies_hold_no_value_of_the_record(tmp_path: Path) -> None:
    secret = "440524188001010015"
    refusal = only_refusal(tmp_path, line(citizen_id_number=secret))
    assert secret not in refusal.reason + refusal.remedy


def test_an_open_quotation_mark_spoils_its_own_line_only(tmp_path: Path) -> None:
    first, second = records(tmp_path, f'{HEADER}\n"P-1,x\n{line()}\n')
    assert isinstance(first, tuple)
    assert "not closed" in first[0].reason
    assert isinstance(second, Row)


def test_a_wrong_number_of_fields_is_told(tmp_path: Path) -> None:
    assert "11 fields instead of 10" in only_refusal(tmp_path, line() + ",x").reason


def test_a_line_without_end_is_refused_and_reading_goes_on(tmp_path: Path) -> None:
    endless = "x" * (3 * MAX_LINE_BYTES)
    first, second = records(tmp_path, f"{HEADER}\n{endless}\n{line()}")
    assert isinstance(first, tuple)
    assert "longer than" in first[0].reason
    assert isinstance(second, Row)
    assert second.line == 3


def test_a_repeated_person_is_refused_with_the_first_line(tmp_path: Path) -> None:
    first, second = records(tmp_path, f"{HEADER}\n{line()}\n{line(name='示例二')}\n")
    assert isinstance(first, Row)
    assert isinstance(second, tuple)
    assert "line 2" in second[0].reason


def test_blank_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    row = only_row(records(tmp_path, f"{HEADER}\n\n  \r\n{line()}"))
    assert row.line == 4
    assert count_lines(tmp_path / "rows.csv") == 4


def test_several_portraits_are_parted_and_repetitions_dropped(tmp_path: Path) -> None:
    row = only_row(records(tmp_path, f"{HEADER}\n{line(portrait='a.jpg; b/c.png ;;a.jpg')}\n"))
    assert row.portraits == ("a.jpg", "b/c.png")


@pytest.mark.parametrize("columns", [OPTIONAL_COLUMNS, OPTIONAL_COLUMNS[:1], OPTIONAL_COLUMNS[1:]])
def test_parents_columns_may_be_there_one_by_one(tmp_path: Path, columns: tuple[str, ...]) -> None:
    number = GOOD["citizen_id_number"]
    header = ",".join([*columns, *COLUMNS])
    row = only_row(records(tmp_path, f"{header}\n{','.join([number] * len(columns))},{line()}\n"))
    assert [getattr(row.fields, name) for name in columns] == [number] * len(columns)
    assert all(getattr(row.fields, name) is None for name in OPTIONAL_COLUMNS if name not in columns)


@given(content=st.binary(max_size=400))
def test_any_bytes_after_the_header_give_rows_or_reasons(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for encoding in ("utf-8", "gb18030"):
        for record in records(folder, HEADER.encode() + b"\n" + content, encoding):
            assert isinstance(record, Row) or all(isinstance(r, Refusal) and r.reason for r in record)
