"""Templates are made once: what an interrupted run made is there for the next."""

from pathlib import Path

import numpy as np
import pytest

from index.errors import EvaluationError
from index.extraction import Extraction, Extractor
from index.labelled import LabelledPicture
from index.labelled_templates import Outcome, encode_labelled
from index.pack import load_pack
from index.quality import AdmissionPolicy
from tests.synthetic import synthetic_portrait


class Counting(Extractor):
    """An extractor that counts what it is given, and may stop."""

    def __init__(self, extractor: Extractor, *, stop_after: int = 10**9) -> None:
        super().__init__(extractor.pack)
        self.calls = 0
        self._stop_after = stop_after

    def extract(self, data: bytes) -> Extraction:
        self.calls += 1
        if self.calls > self._stop_after:
            raise KeyboardInterrupt
        return super().extract(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A few portraits, one without a face and one that is no picture."""
    for person in range(4):
        (tmp_path / f"{person}.jpg").write_bytes(synthetic_portrait(person))
    (tmp_path / "none.jpg").write_bytes(synthetic_portrait(9, faces=0))
    (tmp_path / "text.jpg").write_bytes(b"hello, this is text")
    return tmp_path


NAMES = ["0.jpg", "1.jpg", "none.jpg", "2.jpg", "text.jpg", "3.jpg"]
PICTURES = [LabelledPicture(name, name) for name in NAMES]


def encode(folder: Path, extractor: Extractor, pictures: list[LabelledPicture] = PICTURES) -> list[Outcome]:
    return encode_labelled(folder, pictures, extractor, cache_dir=folder / "cache")


def test_outcomes_come_in_order_with_reasons(folder: Path, synthetic_extractor: Extractor) -> None:
    outcomes = encode(folder, synthetic_extractor)
    assert [outcome.template is not None for outcome in outcomes] == [True, True, False, True, False, True]
    assert [outcome.reasons for outcome in outcomes if outcome.reasons] == [("no-face",), ("unknown-format",)]
    expected = synthetic_extractor.extract((folder / "2.jpg").read_bytes()).template
    assert expected is not None
    assert outcomes[3].template is not None
    assert np.array_equal(outcomes[3].template, expected)


def test_the_second_run_encodes_nothing(folder: Path, synthetic_extractor: Extractor) -> None:
    first = encode(folder, synthetic_extractor)
    counting = Counting(synthetic_extractor)
    second = encode(folder, counting)
    assert counting.calls == 0
    for one, other in zip(first, second, strict=True):
        assert one.reasons == other.reasons
        assert (one.template is None) == (other.template is None)
        if one.template is not None and other.template is not None:
            assert np.array_equal(one.template, other.template)


def test_an_interrupted_run_goes_on(
    folder: Path, synthetic_extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("index.labelled_templates.BLOCK", 2)
    with pytest.raises(KeyboardInterrupt):
        encode_labelled(
            folder,
            PICTURES,
            Counting(synthetic_extractor, stop_after=4),
            cache_dir=folder / "cache",
            threads=1,
        )
    counting = Counting(synthetic_extractor)
    assert len(encode(folder, counting)) == len(PICTURES)
    assert counting.calls == 2


def test_a_line_cut_off_by_a_crash_is_made_again(folder: Path, synthetic_extractor: Extractor) -> None:
    encode(folder, synthetic_extractor)
    (cache,) = (folder / "cache").iterdir()
    cache.write_bytes(cache.read_bytes()[:-700])
    for _ in range(2):
        counting = Counting(synthetic_extractor)
        outcomes = encode(folder, counting)
        assert outcomes[-1].template is not None
    assert counting.calls == 0


@pytest.mark.parametrize("line", ["{}", "[]", "nonsense", '{"sha256": 1, "template": "AAAA", "reasons": []}'])
def test_a_damaged_line_is_ignored(folder: Path, synthetic_extractor: Extractor, line: str) -> None:
    encode(folder, synthetic_extractor)
    (cache,) = (folder / "cache").iterdir()
    with cache.open("a") as file:
        file.write(line + "\n")
    counting = Counting(synthetic_extractor)
    encode(folder, counting)
    assert counting.calls == 0


def test_a_changed_file_is_encoded_again(folder: Path, synthetic_extractor: Extractor) -> None:
    encode(folder, synthetic_extractor)
    (folder / "0.jpg").write_bytes(synthetic_portrait(20))
    counting = Counting(synthetic_extractor)
    encode(folder, counting)
    assert counting.calls == 1


def test_other_rules_have_their_own_templates(folder: Path, synthetic_pack_dir: Path) -> None:
    pack = load_pack(synthetic_pack_dir)
    encode(folder, Extractor(pack))
    strict = encode(folder, Extractor(pack, policy=AdmissionPolicy(min_inter_eye_px=1000)))
    assert all(outcome.template is None for outcome in strict)


def test_progress_is_told(folder: Path, synthetic_extractor: Extractor) -> None:
    told: list[tuple[int, bool]] = []

    def advance(count: int = 1, *, worked: bool = True) -> None:
        told.append((count, worked))

    for _ in range(2):
        encode_labelled(folder, PICTURES, synthetic_extractor, cache_dir=folder / "cache", advance=advance)
    assert sum(count for count, worked in told if worked) == len(PICTURES)
    assert sum(count for count, _ in told) == 2 * len(PICTURES)


def test_a_file_that_cannot_be_read_is_named(folder: Path, synthetic_extractor: Extractor) -> None:
    with pytest.raises(EvaluationError, match=r"gone\.jpg: cannot be read"):
        encode(folder, synthetic_extractor, [LabelledPicture("gone.jpg", "x")])
