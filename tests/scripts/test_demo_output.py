import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from scripts.demo_output import (
    candidate_words,
    candidates_table,
    instruction_words,
    one_of,
    request_panel,
    threshold_words,
)
from scripts.demo_registry import Registration

ANSWER: dict[str, Any] = {
    "outcome": "candidates",
    "instruction": "hold",
    "review_url": "http://127.0.0.1:8000/cases/1",
    "candidates": [
        {
            "rank": 1,
            "person_id": "DEMO-0001",
            "score": 0.8123,
            "false_alarm_rate": 0.0004,
            "extrapolated": False,
        }
    ],
    "searches": [
        {
            "gallery": "flagged",
            "gallery_size": 8,
            "references": 12,
            "threshold": 0.25,
            "fpir": {"value": 0.0098},
            "calibration_method": "pack",
        }
    ],
}
REGISTRATION = Registration("DEMO-0001", "示例一", "Demo Person 1", {}, ())


def printed(shown: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0.93, "about 93 of 100"),
        (0.5, "about 1 of 2"),
        (0.01, "about 1 of 100"),
        (0.00987, "about 1 of 100"),
        (0.004, "about 1 of 250"),
        (0.0000123, "about 1 of 81,000"),
        (1e-12, "fewer than 1 of 1,000,000"),
    ],
)
def test_rates_are_told_as_one_of_so_many(rate: float, words: str) -> None:
    assert one_of(rate) == words


def test_the_portrait_in_a_request_is_abbreviated() -> None:
    text = printed(request_panel({"transaction": {"id": "T"}, "portrait": "A" * 20_000}))
    assert "20,000 characters" in text
    assert text.count("A") < 100


def test_candidates_are_called_suspected_and_come_with_score_and_rate() -> None:
    text = printed(candidates_table(ANSWER, [REGISTRATION]))
    assert "suspected" in text
    assert "0.812" in text
    assert "about 1 of 2,500" in text
    assert "about 1 of 2,500 searches by someone who is not in it" in candidate_words(ANSWER)
    assert "estimated" not in candidate_words(ANSWER)


def test_an_extrapolated_rate_is_called_an_estimate() -> None:
    best = ANSWER["candidates"][0] | {"extrapolated": True}
    assert "estimated" in candidate_words(ANSWER | {"candidates": [best]})


def test_the_threshold_is_told_in_words_with_its_origin() -> None:
    assert "about 1 of 100 searches by someone who is not in it" in threshold_words(ANSWER)
    assert "from the pack's table" in threshold_words(ANSWER)
    measured = [ANSWER["searches"][0] | {"calibration_method": "measured"}]
    assert "measured on the gallery itself" in threshold_words(ANSWER | {"searches": measured})


def test_holding_names_the_review_page_and_proceeding_does_not() -> None:
    assert "http://127.0.0.1:8000/cases/1" in instruction_words(ANSWER).plain
    assert "proceed" in instruction_words({"instruction": "proceed"}).plain
