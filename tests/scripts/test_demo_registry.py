import datetime as dt
from collections.abc import Sequence
from importlib.resources import files

import cv2
import numpy as np
import pytest

from index.portrait import decode_portrait
from index.types import Face, Image
from scripts.demo_registry import (
    PHOTOGRAPHS,
    Photograph,
    Sitter,
    build_registry,
    citizen_id_number,
    people,
)
from scripts.failures import CommandError
from service.persons.schemas import RegistrationFields

SIZES = {
    (512, 512): [(178, 64, 91, 111)],
    (600, 512): [(177, 123, 178, 212)],
    (112, 112): [(4, 6, 82, 111)],
    (886, 1280): [
        (55, 267, 105, 126),
        (271, 146, 97, 124),
        (464, 270, 108, 143),
        (746, 344, 102, 132),
        (901, 55, 104, 149),
        (1131, 271, 95, 130),
    ],
}
"""Where the faces are in the delivered photographs, by height and width."""


def face(x: float, y: float, width: float, height: float) -> Face:
    fractions = np.array([[0.3, 0.4], [0.75, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], dtype=np.float32)
    corner, size = np.array([x, y], dtype=np.float32), np.array([width, height], dtype=np.float32)
    return Face((x, y, width, height), 0.9, corner + fractions * size)


def known_faces(picture: Image) -> Sequence[Face]:
    """Answer the known places, so that the registry can be tested without any model; none in a part."""
    height, width = picture.shape[:2]
    return [face(*box) for box in SIZES.get((height, width), ())]


def test_every_photograph_of_the_installed_packages_is_found() -> None:
    registry = build_registry(known_faces)
    assert registry.missing == ()
    assert registry.sources == (
        "skimage/data (1 person)",
        "matplotlib/mpl-data/sample_data (1 person)",
        "insightface/data/images (7 people)",
    )
    assert len(registry.registrations) == 9


def test_one_person_is_registered_twice_with_different_papers_and_pictures() -> None:
    registry = build_registry(known_faces)
    subject, duplicate = registry.subject, registry.duplicate
    assert subject in registry.registrations
    assert duplicate in registry.registrations
    assert subject.fields["citizen_id_number"] != duplicate.fields["citizen_id_number"]
    assert subject.name != duplicate.name
    assert not {p.image for p in subject.portraits} & {p.image for p in duplicate.portraits}
    assert registry.probe not in {p.image for r in registry.registrations for p in r.portraits}


def test_registrations_pass_the_rules_of_the_api_and_use_distinct_keys() -> None:
    registry = build_registry(known_faces)
    for registration in registry.registrations:
        RegistrationFields.model_validate(registration.fields)
    assert len({r.person_id for r in registry.registrations}) == len(registry.registrations)
    assert len({r.fields["citizen_id_number"] for r in registry.registrations}) == len(registry.registrations)


def test_most_people_are_flagged_and_one_is_not() -> None:
    codes = [r.fields["level_code"] for r in build_registry(known_faces).registrations]
    assert codes.count("30") == len(codes) - 1


def test_names_say_that_they_are_examples() -> None:
    registry = build_registry(known_faces)
    assert all(
        r.name.startswith("示例") and r.label.startswith("Demo Person") for r in registry.registrations
    )


def test_portraits_have_the_size_of_an_id_card_picture() -> None:
    registry = build_registry(known_faces)
    for registration in registry.registrations:
        for portrait in registration.portraits:
            picture = decode_portrait(portrait.image)
            assert (picture.width, picture.height, picture.format) == (358, 441, "jpeg")
            assert len(portrait.image) < 60_000


def test_second_photographs_are_marked_as_simulated() -> None:
    portraits = [p for r in build_registry(known_faces).registrations for p in r.portraits]
    assert {p.simulated for p in portraits} == {True, False}
    assert sum(not p.simulated for p in portraits) == 8


def test_the_same_packages_give_the_same_registry() -> None:
    first, second = build_registry(known_faces), build_registry(known_faces)
    assert first == second
    assert (first.probe, first.stranger) == (second.probe, second.stranger)


def test_a_missing_photograph_is_named_and_the_rest_still_serves() -> None:
    elsewhere = Photograph("skimage", "data/no-such-picture.png", (Sitter(0.5, 0.5, "0"),))
    no_package = Photograph("no_such_package", "x.png", (Sitter(0.5, 0.5, "0"),))
    registry = build_registry(known_faces, photographs=[elsewhere, no_package, *PHOTOGRAPHS[1:]])
    assert len(registry.missing) == 2
    assert "skimage/data/no-such-picture.png" in registry.missing[0]
    assert len(registry.registrations) == 8


def test_a_sitter_without_a_face_is_named() -> None:
    def without_the_first(picture: Image) -> Sequence[Face]:
        found = known_faces(picture)
        return found[1:] if len(found) > 1 else found

    registry = build_registry(without_the_first)
    assert registry.missing == ("a face was not found in insightface/data/images/t1.jpg",)


def test_a_face_too_small_to_be_found_in_a_group_is_found_in_a_window() -> None:
    whole = decode_portrait(files("insightface").joinpath("data/images/t1.jpg").read_bytes()).pixels
    expected = {face(*box).box[:2] for box in SIZES[886, 1280]}

    def near_ones_only(picture: Image) -> Sequence[Face]:
        if picture.shape == whole.shape:
            return []
        found = list(known_faces(picture))
        for x, y, width, height in SIZES[886, 1280]:
            row, column = y + height // 2, x + width // 2
            middle = whole[row : row + 20, column : column + 20]
            unlike, _, (left, top), _ = cv2.minMaxLoc(
                cv2.matchTemplate(picture, middle, cv2.TM_SQDIFF_NORMED)
            )
            if unlike < 1e-4:
                found.append(face(float(left - width // 2), float(top - height // 2), width, height))
        return found

    group = [person.face.box[:2] for person in people(near_ones_only) if person.source.endswith("t1.jpg")]
    assert {(round(x), round(y)) for x, y in group} == expected


def test_too_few_people_end_the_demo_with_the_reasons() -> None:
    with pytest.raises(CommandError, match=r"4 people and found 2: .*no-such"):
        build_registry(
            known_faces,
            photographs=[*PHOTOGRAPHS[:2], Photograph("skimage", "data/no-such.png", (Sitter(0, 0, "1"),))],
        )


def test_invented_numbers_have_the_sequence_and_a_fitting_check_character() -> None:
    number = citizen_id_number(dt.date(1984, 3, 12), sequence=802)
    assert number.startswith("53000019840312802")
    assert RegistrationFields(level_code="30", citizen_id_number=number).citizen_id_number == number
