"""What is written can be read by machines and by people, and stays in one folder."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from index.evaluation import Evaluation, evaluate_outcomes
from index.evaluation_report import THUMBNAIL_PX, thumbnail, write_report
from index.extraction import Extractor
from index.labelled import LabelledPicture
from index.labelled_templates import Outcome, encode_labelled
from tests.synthetic import synthetic_portrait

HOSTILE = '<script>alert("x")</script>&'


class Page(HTMLParser):
    """Counts what is on a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.sources: list[str] = []
        self.alternatives: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        values = dict(attrs)
        if tag == "img":
            self.sources.append(values["src"] or "")
            self.alternatives.append(values["alt"] or "")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of each of eight persons, one of a ninth, and one that fails."""
    folder = tmp_path_factory.mktemp("labelled")
    for person in range(8):
        for shot in range(2):
            (folder / f"{person}-{shot}.jpg").write_bytes(synthetic_portrait(person, shot))
    (folder / "8-0.jpg").write_bytes(synthetic_portrait(8))
    (folder / "wall.jpg").write_bytes(synthetic_portrait(9, faces=0))
    return folder


@pytest.fixture(scope="module")
def pictures() -> list[LabelledPicture]:
    """The rows that describe them; one label is hostile."""
    rows = [
        LabelledPicture(f"{p}-{s}.jpg", f"person {p}" if p else HOSTILE) for p in range(8) for s in range(2)
    ]
    return [*rows, LabelledPicture("8-0.jpg", "person 8"), LabelledPicture("wall.jpg", "nobody")]


@pytest.fixture(scope="module")
def outcomes(source: Path, pictures: list[LabelledPicture], synthetic_extractor: Extractor) -> list[Outcome]:
    """Their templates."""
    return encode_labelled(source, pictures, synthetic_extractor, cache_dir=source / "cache")


@pytest.fixture(scope="module")
def evaluation(pictures: list[LabelledPicture], outcomes: list[Outcome]) -> Evaluation:
    """What is measured on them."""
    return evaluate_outcomes(pictures, outcomes)


@pytest.fixture(scope="module")
def out(
    tmp_path_factory: pytest.TempPathFactory,
    evaluation: Evaluation,
    pictures: list[LabelledPicture],
    outcomes: list[Outcome],
    source: Path,
) -> Path:
    """The report's folder."""
    folder = tmp_path_factory.mktemp("report") / "new"
    write_report(folder, evaluation, pictures, outcomes, source=source, pack="synthetic 1")
    return folder


def test_the_report_has_its_keys(out: Path, evaluation: Evaluation) -> None:
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert list(report) == [
        "pack",
        "images",
        "identities",
        "failure_to_enrol",
        "rank1",
        "fnir",
        "tar",
        "thresholds",
    ]
    assert set(report["fnir"]) == {"0.1", "0.01", "0.001"}
    assert set(report["tar"]) == {"0.001", "0.0001"}
    assert set(report["thresholds"]["fpir"]) == set(report["fnir"])
    assert set(report["thresholds"]["far"]) == set(report["tar"])
    rates = [report["failure_to_enrol"], report["rank1"], *report["fnir"].values(), *report["tar"].values()]
    for rate in rates:
        assert set(rate) == {"value", "low", "high", "n"}
        assert 0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1
    assert (report["images"], report["identities"], report["rank1"]["n"]) == (18, 10, 8)
    assert report["rank1"]["value"] == 1.0 == evaluation.rank1.value
    assert report["failure_to_enrol"]["value"] == pytest.approx(1 / 18)


def test_failures_are_listed_with_reasons(out: Path) -> None:
    lines = (out / "failures.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["path,identity,reasons", "wall.jpg,nobody,no-face"]


@pytest.mark.parametrize("name", ["det.png", "scores.png"])
def test_the_drawings_are_pictures_of_some_size(out: Path, name: str) -> None:
    with Pillow.open(out / name) as drawing:
        pixels = np.asarray(drawing.convert("RGB"))
    assert min(pixels.shape[:2]) >= 600
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


def test_the_page_shows_pictures_side_by_side_and_nothing_from_elsewhere(out: Path) -> None:
    text = (out / "errors.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags["h1"] == 1
    assert page.tags["h2"] == 3
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert len(page.sources) == 8 * 3 + 9 * 2 + 1
    assert all(page.alternatives)
    assert not re.search(r"https?://", text)


def test_labels_are_escaped(out: Path) -> None:
    text = (out / "errors.html").read_text(encoding="utf-8")
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


def test_the_page_names_causes_and_says_what_it_holds(out: Path) -> None:
    text = (out / "errors.html").read_text(encoding="utf-8")
    assert "holds portraits" in text
    assert "a wrong label" in text
    assert "one person under two labels" in text


def test_missed_mates_come_before_the_merely_low(
    tmp_path: Path, pictures: list[LabelledPicture], outcomes: list[Outcome], source: Path
) -> None:
    swapped = [*outcomes]
    swapped[1], swapped[3] = outcomes[3], outcomes[1]
    evaluation = evaluate_outcomes(pictures, swapped)
    write_report(tmp_path, evaluation, pictures, swapped, source=source, pack="synthetic 1")
    text = (tmp_path / "errors.html").read_text(encoding="utf-8")
    ranks = [int(rank) for rank in re.findall(r"rank (\d+)\.", text)]
    assert ranks[0] > 1
    assert ranks[1] > 1
    assert set(ranks[2:]) == {1}


def test_an_error_free_report_can_be_drawn(tmp_path: Path) -> None:
    rows = [LabelledPicture(f"{place}.jpg", label) for place, label in enumerate("aabb")]
    vectors = [np.eye(4, dtype=np.float32)[i // 2] for i in range(4)]
    outcomes = [Outcome(vector) for vector in vectors]
    write_report(tmp_path, evaluate_outcomes(rows, outcomes), rows, outcomes, source=tmp_path, pack="p 1")
    assert "cannot be shown" in (tmp_path / "errors.html").read_text(encoding="utf-8")
    assert (tmp_path / "det.png").stat().st_size > 10_000


def test_a_thumbnail_is_small(source: Path) -> None:
    data = thumbnail(source / "0-0.jpg")
    assert data is not None
    assert len(data) < 20_000
    assert thumbnail(source / "nothing.jpg") is None
    assert THUMBNAIL_PX == 160
