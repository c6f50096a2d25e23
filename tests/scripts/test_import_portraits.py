import os
from pathlib import Path

import pytest

from scripts.import_portraits import LARGEST_BYTES, PortraitFileError, PortraitFolder
from scripts.import_rows import ImportFileError


@pytest.fixture
def folder(tmp_path: Path) -> PortraitFolder:
    inside = tmp_path / "portraits"
    (inside / "530102").mkdir(parents=True)
    (inside / "a.jpg").write_bytes(b"first")
    (inside / "530102" / "示例.jpg").write_bytes(b"second")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    return PortraitFolder(inside)


def reason(folder: PortraitFolder, name: str) -> str:
    with pytest.raises(PortraitFileError) as caught:
        folder.read(name)
    assert caught.value.remedy
    assert folder.size(name) <= LARGEST_BYTES
    return caught.value.reason


def test_files_of_the_folder_and_below_it_are_read(folder: PortraitFolder) -> None:
    assert folder.read("a.jpg") == b"first"
    assert folder.read("530102/示例.jpg") == b"second"
    assert folder.size("a.jpg") == 5


@pytest.mark.parametrize(
    "name",
    ["../secret.jpg", "530102/../../secret.jpg", "/etc/hostname", "..", "..\\secret.jpg", "a.jpg\0", "", "."],
)
def test_names_that_lead_out_or_nowhere_are_refused(folder: PortraitFolder, name: str) -> None:
    assert reason(folder, name) in {"outside-portraits", "not-a-file"}


def test_links_that_lead_out_of_the_folder_are_refused(folder: PortraitFolder, tmp_path: Path) -> None:
    (tmp_path / "portraits" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (tmp_path / "portraits" / "folder").symlink_to(tmp_path)
    assert reason(folder, "link.jpg") == "outside-portraits"
    assert reason(folder, "folder/secret.jpg") == "outside-portraits"


def test_links_within_the_folder_are_followed(folder: PortraitFolder, tmp_path: Path) -> None:
    (tmp_path / "portraits" / "link.jpg").symlink_to(tmp_path / "portraits" / "a.jpg")
    assert folder.read("link.jpg") == b"first"


def test_a_link_to_itself_is_refused(folder: PortraitFolder, tmp_path: Path) -> None:
    (tmp_path / "portraits" / "loop").symlink_to("loop")
    assert reason(folder, "loop") == "file-unreadable"


def test_what_is_missing_or_no_file_is_told_apart(folder: PortraitFolder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "portraits" / "pipe.jpg")
    assert reason(folder, "none.jpg") == "file-not-found"
    assert reason(folder, "530102") == "not-a-file"
    assert reason(folder, "pipe.jpg") == "not-a-file"
    assert reason(folder, "a.jpg/b.jpg") == "file-unreadable"
    assert reason(folder, "x" * 300) == "file-unreadable"
    assert folder.size("none.jpg") == 0


def test_a_file_that_is_too_large_is_not_read(folder: PortraitFolder, tmp_path: Path) -> None:
    with (tmp_path / "portraits" / "large.jpg").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    assert reason(folder, "large.jpg") == "too-many-bytes"


def test_a_folder_that_is_not_there_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(ImportFileError, match="not a folder"):
        PortraitFolder(tmp_path / "none")
