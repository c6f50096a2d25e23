"""The main job on real portraits, through the product's own commands and HTTP.

A part of what `oneperson benchmark accuracy` measures on all of them, small enough for every run.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from scipy.stats import binomtest

from scripts.accuracy import CLOSED_TARGET, Identity, closed_run, open_run, read_identities
from scripts.installation import Installation

pytestmark = [pytest.mark.faces, pytest.mark.enable_socket]

CLOSED_LFW = 150
OPEN_LFW = 380
"""With ORL and Yale these enrol more than the 200 persons from which on a gallery measures its own rates."""

OPEN_TARGET = 0.05
"""High enough that some ten alarms are expected among the persons left out."""

SURPRISE = 1e-3
"""Chance below which an observed number of alarms does not go with the stated rate."""


@pytest.fixture(scope="module")
def directory(shared_dir: Path) -> Path:
    return shared_dir / "faces" / "eval"


@pytest.fixture(scope="module")
def pairs(directory: Path) -> list[Identity]:
    """Every labelled identity with a second picture, in the manifest's order."""
    return [identity for identity in read_identities(directory) if identity.second is not None]


def chosen(pairs: Sequence[Identity], *, lfw: int) -> list[Identity]:
    """All identities of the small collections, and some of the large one."""
    small = [identity for identity in pairs if identity.source != "lfw"]
    return [*small, *islice((identity for identity in pairs if identity.source == "lfw"), lfw)]


def test_mate_scores_highest(
    directory: Path, pairs: list[Identity], dev_pack_dir: Path, tmp_path: Path
) -> None:
    installation = Installation(tmp_path, pack=str(dev_pack_dir), target_fpir=CLOSED_TARGET)
    rates = closed_run(directory, chosen(pairs, lfw=CLOSED_LFW), installation)
    assert {source: rate.n for source, rate in rates.items()} == {
        "orl": 40,
        "yale": 15,
        "lfw": CLOSED_LFW,
    }
    assert rates["orl"].value == 1.0
    assert rates["yale"].value == 1.0
    assert rates["lfw"].value >= 0.98


def test_alarms_about_persons_who_are_not_enrolled_come_as_often_as_stated(
    directory: Path, pairs: list[Identity], dev_pack_dir: Path, tmp_path: Path
) -> None:
    installation = Installation(tmp_path, pack=str(dev_pack_dir), target_fpir=OPEN_TARGET)
    identities = chosen(pairs, lfw=OPEN_LFW)
    # Of those enrolled no second picture is needed here: the other test has found them.
    identities[::2] = [replace(identity, second=None) for identity in identities[::2]]
    result = open_run(directory, identities, installation)
    assert result.persons >= 200
    assert result.stated.low <= OPEN_TARGET <= result.stated.high
    alarms, searches = round(result.observed.value * result.observed.n), result.observed.n
    assert searches >= 200
    too_many = binomtest(alarms, searches, result.stated.high, alternative="greater").pvalue
    too_few = binomtest(alarms, searches, result.stated.low, alternative="less").pvalue
    assert too_many > SURPRISE, result
    assert too_few > SURPRISE, result
