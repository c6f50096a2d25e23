"""Numbers, times and codes in words."""

from datetime import UTC, date, datetime, timedelta

import pytest

from service.codes import load_codes
from service.web.words import Words

CODES = load_codes()
EN, ZH = Words("en", CODES), Words("zh-CN", CODES)
AT = datetime(2026, 3, 1, 17, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rate", "english", "chinese"),
    [
        (0.0005, "1 of 2,000", "每 2,000 次中有 1 次"),
        (0.00123, "1 of 810", "每 810 次中有 1 次"),
        (0.0999, "1 of 10", "每 10 次中有 1 次"),
        (0.1, "10 of 100", "每 100 次中有 10 次"),
        (1.0, "100 of 100", "每 100 次中有 100 次"),
        (1.77e-5, "1 of 56,000", "每 5.6 万次中有 1 次"),
        (1e-6, "1 of 1,000,000", "每 100 万次中有 1 次"),
        (1.2e-9, "fewer than 1 of 1,000,000", "每 100 万次中不到 1 次"),
        (0.0, "fewer than 1 of 1,000,000", "每 100 万次中不到 1 次"),
    ],
)
def test_rates_are_said_as_shares_of_searches(rate: float, english: str, chinese: str) -> None:
    assert EN.share(rate) == english
    assert ZH.share(rate) == chinese


def test_sentence_names_the_interval_only_as_far_as_it_was_measured() -> None:
    assert "(95 % interval: 1 of 4,800 to 1 of 910)" in EN.false_alarms(0.0005, 0.00021, 0.0011)
    assert "95 % upper limit: 1 of 910" in EN.false_alarms(0.0005, 0.0, 0.0011)
    assert "too few persons to measure" in EN.false_alarms(0.0005, 0.0, 1.0)
    assert "fewer than 1 of 1,000,000" in EN.false_alarms(1e-9, 0.0, 1.0)
    assert "at most 1 of 910 " in EN.false_alarms(0.0, 0.0, 0.0011)
    assert "至多每 910 次中有 1 次" in ZH.false_alarms(0.0, 0.0, 0.0011)


@pytest.mark.parametrize(
    ("minutes", "english", "chinese"),
    [
        (-3, "0 min", "0 分钟"),
        (59, "59 min", "59 分钟"),
        (61, "1 h 1 min", "1 小时 1 分"),
        (3 * 1440 + 125, "3 d 2 h", "3 天 2 小时"),
    ],
)
def test_waiting_is_said_in_its_two_largest_units(minutes: int, english: str, chinese: str) -> None:
    until = AT + timedelta(minutes=minutes)
    assert EN.waited(AT, until) == english
    assert ZH.waited(AT, until) == chinese


def test_times_are_beijing_times() -> None:
    assert ZH.moment(AT) == "2026-03-02 01:05"
    assert ZH.day(date(2026, 3, 1)) == "2026-03-01"
    assert ZH.day(None) == ""


def test_divisions_carry_the_nearest_known_name() -> None:
    assert EN.division("530102") == "Kunming 530102"
    assert ZH.division("530102001") == "昆明市 530102001"
    assert EN.division("539900") == "Yunnan 539900"
    assert EN.division("110105") == "110105"
    assert EN.division(None) == ""


def test_codes_without_a_word_stand_for_themselves() -> None:
    assert EN.term(CODES.sexes, "2") == "female"
    assert EN.term(CODES.sexes, "7") == "7"
    assert EN.term(CODES.sexes, None) == ""
    assert EN.named("mark", "blurred") == "Blurred"
    assert EN.named("mark", "of-tomorrow") == "of-tomorrow"


def test_bands_follow_how_often_strangers_look_as_similar() -> None:
    assert [EN.band(rate) for rate in (1e-6, 5e-4, 0.01)] == ["Very high", "High", "Moderate"]
