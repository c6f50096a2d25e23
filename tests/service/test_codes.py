"""Code tables: the delivered one is whole, and a province's own is checked before anything starts."""

import re
from pathlib import Path

import pytest

from service.codes import DELIVERED, Codes, load_codes
from service.errors import SettingsError


@pytest.fixture(scope="module")
def delivered() -> Codes:
    return load_codes()


def test_delivered_tables_have_words_in_both_languages(delivered: Codes) -> None:
    for name in Codes.model_fields:
        table = getattr(delivered, name)
        assert table, name
        for code, term in table.items():
            assert term.word("zh-CN").strip(), (name, code)
            assert term.word("en").strip(), (name, code)


def test_words_are_given_in_the_language_asked_for(delivered: Codes) -> None:
    term = delivered.transaction_types["household-transfer-in"]
    assert term.word("zh-CN") == term.word("zh") == term.zh
    assert term.word("en") == term.en
    assert term.zh != term.en


def test_delivered_tables_know_what_the_design_names(delivered: Codes) -> None:
    assert delivered.transaction_types["household-transfer-in"].check == "flagged"
    assert delivered.transaction_types["late-registration"].check == "everyone"
    assert delivered.transaction_types["death"].check == "nobody"
    assert {"document", "visit", "interview", "fingerprint", "dna"} <= delivered.evidence_kinds.keys()
    assert set(delivered.sexes) == {"0", "1", "2", "9"}


def test_file_of_a_province_replaces_the_delivered_tables(tmp_path: Path) -> None:
    text = DELIVERED.read_text(encoding="utf-8")
    own = tmp_path / "codes.toml"
    own.write_text(
        text + '\n[transaction_types.picnic]\nzh = "野餐"\nen = "picnic"\ncheck = "nobody"\n',
        encoding="utf-8",
    )
    assert load_codes(own).transaction_types["picnic"].check == "nobody"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"transaction_types = 5",
        b"\xff\xfe\x00",
        "[transaction_types]\nx = {zh = '一'".encode(),
        b'[transaction_types.x]\nzh = "a"\nen = "b"\ncheck = "sometimes"\n',
        b'[transaction_types.x]\nzh = "a"\nen = "b"\n',
    ],
    ids=["empty", "other-type", "not-utf8", "not-toml", "unknown-policy", "no-policy"],
)
def test_unusable_file_is_named_with_its_setting(tmp_path: Path, content: bytes) -> None:
    own = tmp_path / "codes.toml"
    own.write_bytes(content)
    with pytest.raises(SettingsError, match=r"ONEPERSON_CODES_FILE: .*codes\.toml"):
        load_codes(own)


@pytest.mark.parametrize("table", ["transaction_types", "evidence_kinds"])
def test_table_that_nothing_works_without_must_not_be_empty(tmp_path: Path, table: str) -> None:
    text = DELIVERED.read_text(encoding="utf-8")
    emptied = re.sub(rf"(?m)^(\[{table}\].*\n)(?:[^\[\n].*\n)+", r"\1", text)
    assert emptied != text
    own = tmp_path / "codes.toml"
    own.write_text(emptied, encoding="utf-8")
    with pytest.raises(SettingsError, match=table):
        load_codes(own)


def test_unknown_table_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "codes.toml"
    own.write_text("[colours]\n" + DELIVERED.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(SettingsError, match="colours"):
        load_codes(own)


def test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_codes(tmp_path / "nothing.toml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_codes(tmp_path)
