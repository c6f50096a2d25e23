"""A manifest that is not as it should be is refused with its line and a remedy."""

from pathlib import Path

import pytest

from index.errors import EvaluationError
from index.labelled import LabelledPicture, by_identity, read_labelled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds a.jpg and sub/b.jpg."""
    (tmp_path / "sub").mkdir()
    for name in ("a.jpg", "sub/b.jpg"):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def read(folder: Path, text: str, *, encoding: str = "utf-8") -> list[LabelledPicture]:
    (folder / "manifest.csv").write_text(text, encoding=encoding)
    return read_labelled(folder)


def test_rows_are_read_in_order_and_other_columns_ignored(folder: Path) -> None:
    rows = read(folder, "identity,source,path\n李四,x,sub/b.jpg\nanna,y,a.jpg\n")
    assert rows == [LabelledPicture("sub/b.jpg", "李四"), LabelledPicture("a.jpg", "anna")]


def test_a_byte_order_mark_and_quotes_are_taken(folder: Path) -> None:
    rows = read(folder, 'path,identity\r\n"a.jpg","Doe, J."\r\n', encoding="utf-8-sig")
    assert rows == [LabelledPicture("a.jpg", "Doe, J.")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "line 1 has no column identity and path"),
        ("path,person\na.jpg,1\n", "line 1 has no column identity"),
        ("path,identity\n", "lists no picture"),
        ("path,identity\na.jpg,1\nmissing.jpg,1\n", "line 3: there is no file 'missing.jpg'"),
        ("path,identity\na.jpg,\n", "line 2: path and identity must both be given"),
        ("path,identity\na.jpg\n", "line 2: path and identity must both be given"),
        ("path,identity\na.jpg,1\na.jpg,2\n", "line 3: 'a.jpg' is listed twice"),
        ("path,identity\n../a.jpg,1\n", "line 2: '../a.jpg' leads out of the folder"),
        ("path,identity\n/etc/hostname,1\n", "line 2: '/etc/hostname' leads out of the folder"),
        ("path,identity\nsub,1\n", "line 2: there is no file 'sub'"),
        ('path,identity\n"a.jpg,1\n', "cannot be read as CSV"),
    ],
)
def test_a_wrong_line_is_named(folder: Path, text: str, named: str) -> None:
    with pytest.raises(EvaluationError) as raised:
        read(folder, text)
    assert named in str(raised.value)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="is missing; list the pictures there"):
        read_labelled(tmp_path)


def test_another_encoding_is_refused(folder: Path) -> None:
    with pytest.raises(EvaluationError, match="UTF-8"):
        read(folder, "path,identity\na.jpg,李四\n", encoding="gb18030")


def test_pictures_are_gathered_by_identity_in_order() -> None:
    pictures = [LabelledPicture(f"{i}.jpg", who) for i, who in enumerate("bab")]
    assert by_identity(pictures) == {"b": [0, 2], "a": [1]}
