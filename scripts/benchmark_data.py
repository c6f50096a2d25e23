"""Made-up embeddings whose scores are distributed like those of real encoders.

Uniformly random vectors would flatter a search: their non-mated scores have a spread of
0.044 at 512 dimensions and normal tails, while real ones spread more, and a few pairs of
strangers score far higher than a normal distribution would have it. Here a person is

    sqrt(1 - t)·a + sqrt(t)·b

with a uniform on the sphere of the first `width` dimensions, b uniform on that of the
first `core` of these, and t drawn for each person from a beta distribution: people who
lean towards the core resemble each other more. A mated probe lies at a cosine drawn from
a normal distribution, cut to 0 to 0.95, in the direction of another person of the same
population; a non-mated probe is one more person.

Profiles (non-mated spread, quantiles; mated median):

- `arcface`: 0.061, 0.306 at 1 - 1e-6; 0.61 (shared/performance.md, large encoders).
- `edgeface`: 0.076, 0.261, 0.333, 0.402 about the mean at 1 - 1e-3, 1 - 1e-4, 1 - 1e-5; 0.49
  (measured with EdgeFace-XS on one picture each of 5,259 CelebA identities and 1,994 second pictures).

`tests/scripts/test_benchmark_data.py` holds the generator to these figures.
"""

from dataclasses import dataclass

import numpy as np

from index.types import References, Vectors

_ROWS = 20_000
"""Persons made at a time, so that only the result takes memory."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What an encoder's scores look like.

    Attributes:
        width: Dimensions that carry anything.
        core: Dimensions that people who resemble each other share.
        lean: Parameters of the beta distribution of t.
        mated_median: Median score of two portraits of one person.
        mated_spread: Standard deviation of these scores.
    """

    width: int
    core: int
    lean: tuple[float, float]
    mated_median: float
    mated_spread: float


PROFILES = {
    "arcface": Profile(width=512, core=34, lean=(8.0, 23.0), mated_median=0.61, mated_spread=0.12),
    "edgeface": Profile(width=200, core=18, lean=(1.0, 5.2), mated_median=0.49, mated_spread=0.17),
}


def make_persons(count: int, profile: Profile, *, dimension: int, seed: int) -> Vectors:
    """Make one vector of each of `count` persons, shape (count, dimension)."""
    rng = np.random.default_rng(seed)
    persons = np.zeros((count, dimension), dtype=np.float32)
    width = min(profile.width, dimension)
    for start in range(0, count, _ROWS):
        part = persons[start : start + _ROWS]
        lean = rng.beta(*profile.lean, size=(len(part), 1)).astype(np.float32)
        part[:, :width] = np.sqrt(1.0 - lean) * _directions(len(part), width, rng)
        part[:, : profile.core] += np.sqrt(lean) * _directions(len(part), profile.core, rng)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return persons


def make_mated_probes(persons: Vectors, profile: Profile, *, seed: int) -> Vectors:
    """Make another portrait of each person, shape (n, d)."""
    rng = np.random.default_rng(seed)
    aside = make_persons(len(persons), profile, dimension=persons.shape[1], seed=seed + 1)
    aside -= np.einsum("ij,ij->i", aside, persons)[:, None] * persons
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    cosines = rng.normal(profile.mated_median, profile.mated_spread, size=(len(persons), 1))
    cosines = np.clip(cosines, 0.0, 0.95).astype(np.float32)
    probes = cosines * persons + np.sqrt(1.0 - cosines**2) * aside
    return np.asarray(probes / np.linalg.norm(probes, axis=1, keepdims=True), dtype=np.float32)


def as_references(persons: Vectors) -> References:
    """Give every person one reference, numbered from 1."""
    numbers = np.arange(1, len(persons) + 1, dtype=np.int64)
    return References(
        reference_ids=numbers,
        person_keys=numbers,
        sexes=(numbers % 2 + 1).astype(np.uint8),
        birth_years=(1940 + numbers % 80).astype(np.uint16),
        vectors=persons,
    )


def _directions(count: int, width: int, rng: np.random.Generator) -> Vectors:
    """Draw points uniformly from the unit sphere of some dimensions."""
    points = rng.standard_normal((count, width), dtype=np.float32)
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float32)
