"""Packed locations answer as sets of them would."""

from hypothesis import given
from hypothesis import strategies as st

from service.stored_locations import StoredLocations

NAMES = st.binary(min_size=16, max_size=16).map(bytes.hex) | st.sampled_from(
    ["0" * 32, "f" * 32, "ab" + "0" * 30]
)
OURS = NAMES.map(lambda name: f"{name[:2]}/{name}.sealed")
OTHERS = st.sampled_from(["ab/picture.jpeg", "00/" + "ab" * 16 + ".sealed", "ab/é.sealed"])
LOCATIONS = st.lists(OURS | OTHERS, max_size=30)


@given(LOCATIONS, LOCATIONS)
def test_what_is_stored_asked_for_and_left(stored: list[str], others: list[str]) -> None:
    packed = StoredLocations(stored)
    asked = stored[::2] + others
    assert len(packed) == len(set(stored))
    assert packed.ask(asked) == [location in set(stored) for location in asked]
    assert set(packed.not_asked()) == set(stored) - set(asked)
