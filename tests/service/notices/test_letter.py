"""Letters as PDF: what they say, and that no character is dropped in silence."""

import dataclasses
import io
from datetime import date
from pathlib import Path

import pytest
from pypdf import PdfReader

from service.errors import SettingsError
from service.notices import fonts
from service.notices.fonts import make_font
from service.notices.letter import LetterFacts, LetterRegistration, write_letter

NAMES = ("登记编号", "姓名", "公民身份号码")
FACTS = LetterFacts(
    sender="五华区公安机关",
    recipient="麒麟区公安机关",
    number="户通〔2026〕17号",
    day=date(2026, 11, 26),
    due_on=date(2026, 12, 9),
    occasion="在办理户口迁入业务（业务编号：T-1）时",
    to_cancel=LetterRegistration(
        "P-2", tuple(zip(NAMES, ("P-2", "阿依古丽·买买提\U00020000", "11010519491231002X"), strict=True))
    ),
    others=(LetterRegistration("P-1", tuple(zip(NAMES, ("P-1", "李秀英", ""), strict=True))),),
    conclusions=("初审：2026年11月25日，民警张三认定上述登记属同一人。",),
    evidence=("证件材料", "入户走访"),
)


def text_of(pdf: bytes) -> str:
    pages = PdfReader(io.BytesIO(pdf)).pages
    return "".join(page.extract_text() for page in pages).replace("\n", "").replace(" ", "")


@pytest.fixture
def _a_font() -> None:
    if not fonts._installed():
        pytest.skip("no Chinese font is installed")


@pytest.mark.usefixtures("_a_font")
def test_a_letter_says_what_the_authority_must_know() -> None:
    letter = write_letter(FACTS, font=None)
    text = text_of(letter.pdf)
    assert letter.embedded
    for told in (FACTS.sender, FACTS.recipient, FACTS.number, "11010519491231002X", "阿依古丽·买买提"):
        assert told in text, told
    for told in (
        "张三认定上述登记属同一人",
        "证件材料、入户走访",
        "2026年12月9日",
        "办理结果如下",
        "第1页，共",
    ):
        assert told in text, told
    assert "/FontFile2" in str(letter.pdf)


@pytest.mark.usefixtures("_a_font")
def test_every_letter_of_a_process_has_its_own_characters() -> None:
    for name in ("王建国", "尼玛次仁", "欧阳娜娜·𠮷㛃"):
        person = LetterRegistration("P-2", (("登记编号", "P-2"), ("姓名", name)))
        letter = write_letter(dataclasses.replace(FACTS, to_cancel=person, others=()), font=None)
        if not letter.missing:
            assert f"姓名{name}" in text_of(letter.pdf)


@pytest.mark.usefixtures("_a_font")
def test_a_character_without_a_glyph_is_marked_and_told() -> None:
    rare = "\U0003134a"  # The last of CJK extension G, in hardly any font.
    name = (("登记编号", "P-2"), ("姓名", f"李{rare}"))
    facts = dataclasses.replace(FACTS, to_cancel=LetterRegistration("P-2", name), others=())
    letter = write_letter(facts, font=None)
    if rare not in letter.missing:
        pytest.skip("a font of this machine has it")
    assert "李〓(U+3134A)" in text_of(letter.pdf)
    assert "请手工补写" in text_of(letter.pdf)


@pytest.mark.usefixtures("_a_font")
def test_letters_that_join_or_stack_are_marked_not_put_in_a_row() -> None:
    sans = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")  # It has Arabic letters.
    made = make_font(["ئۇيغۇر བོད 藏"], sans if sans.exists() else None)
    assert made.missing == set("ئۇيغۇرབོད")
    assert made.shown("藏བ") == "藏〓(U+0F56)"


def test_without_a_font_the_viewers_own_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_installed", list)
    letter = write_letter(FACTS, font=None)
    assert not letter.embedded
    assert letter.missing == {"\U00020000"}
    assert b"UniGB-UCS2-H" in letter.pdf


@pytest.mark.usefixtures("_a_font")
def test_what_is_taken_back_names_the_earlier_letter() -> None:
    back = dataclasses.replace(FACTS, takes_back=FACTS.number, number="户通〔2026〕21号", others=())
    text = text_of(write_letter(back, font=None).pdf)
    assert "撤回" in text
    assert FACTS.number in text
    assert "民警" not in text


def test_a_font_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    with pytest.raises(SettingsError, match="ONEPERSON_LETTER_FONT"):
        make_font(["李"], broken)
