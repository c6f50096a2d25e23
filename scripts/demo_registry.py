"""An invented registry around real photographs that ship inside installed packages.

Nothing is copied into the project: the pictures are read where the packages
keep them. The registrations are made up from end to end, so that no name is
attached to anybody's photograph. A "second photograph" is the first one with
another framing, light, colour, sharpness, noise and compression.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files

import numpy as np

from index.portrait import decode_portrait
from index.types import Face, Image
from scripts.demo_portraits import id_card_portrait, second_photograph
from scripts.failures import CommandError
from service.persons.schemas import CITIZEN_CHECKS, CITIZEN_WEIGHTS

FindFaces = Callable[[Image], Sequence[Face]]
"""Answers the faces of a picture; the demo uses the pack's own detector."""

FLAGGED, ORDINARY = "30", "10"
"""Level codes: the notice's, and any other, so that one registration is not enrolled."""

LEAST_PEOPLE = 4
"""The subject, the stranger, and two more to search among."""

CLOSER_SHARE = 0.35
"""Side of the window in which one sitter is looked for, as a share of the photograph's height."""

_NUMBER_DIVISION = "530000"
"""A province's own code stands in nobody's citizen number, so the invented numbers belong to nobody."""


@dataclass(frozen=True, slots=True)
class Sitter:
    """Where one person is in a photograph, as fractions of its width and height, and their sex."""

    x: float
    y: float
    sex: str


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture file inside an installed package."""

    package: str
    path: str
    sitters: tuple[Sitter, ...]

    @property
    def title(self) -> str:
        """Name for the output."""
        return f"{self.package}/{self.path}"


PHOTOGRAPHS = (
    Photograph("skimage", "data/astronaut.png", (Sitter(0.44, 0.24, "2"),)),
    Photograph("matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (Sitter(0.52, 0.38, "2"),)),
    Photograph("insightface", "data/images/Tom_Hanks_54745.png", (Sitter(0.40, 0.55, "1"),)),
    Photograph(
        "insightface",
        "data/images/t1.jpg",
        (
            Sitter(0.083, 0.37, "2"),
            Sitter(0.250, 0.24, "2"),
            Sitter(0.404, 0.39, "1"),
            Sitter(0.623, 0.46, "1"),
            Sitter(0.744, 0.15, "1"),
            Sitter(0.921, 0.38, "2"),
        ),
    ),
)
"""Found by looking through the installed dependencies with a detector; `camera.png` shows a profile only."""


@dataclass(frozen=True, slots=True)
class _Invented:
    """The made-up half of a registration."""

    name: str
    birth_date: dt.date
    ethnicity: str
    division_code: str
    category: str
    level_code: str = FLAGGED


_INVENTED = (
    _Invented("示例一", dt.date(1984, 3, 12), "01", "530102", "06"),
    _Invented("示例二", dt.date(1951, 12, 9), "14", "532901", "11"),
    _Invented("示例三", dt.date(1979, 7, 30), "07", "532301", "05"),
    _Invented("示例四", dt.date(1990, 2, 11), "28", "533103", "01"),
    _Invented("示例五", dt.date(1988, 6, 15), "27", "530702", "02", ORDINARY),
    _Invented("示例六", dt.date(1986, 11, 2), "03", "530602", "03"),
    _Invented("示例七", dt.date(1989, 8, 19), "16", "532501", "06"),
    _Invented("示例八", dt.date(1987, 7, 25), "18", "532801", "05"),
)
_SECOND_REGISTRATION = _Invented("示例甲", dt.date(1985, 8, 21), "06", "532601", "02")
"""What the person who is registered twice told the second time."""


@dataclass(frozen=True, slots=True)
class DemoPortrait:
    """One picture of a registration.

    Attributes:
        image: A JPEG file.
        taken_on: The invented day.
        simulated: Whether it is a simulated second photograph.
    """

    image: bytes = field(repr=False)
    taken_on: dt.date
    simulated: bool


@dataclass(frozen=True, slots=True)
class Registration:
    """One invented registration with its pictures.

    Attributes:
        person_id: Key of the registration.
        name: The invented name.
        label: What to call the person in English.
        fields: The body of `PUT /v1/persons/{person_id}` without its portraits.
        portraits: At least one.
    """

    person_id: str
    name: str
    label: str
    fields: dict[str, str]
    portraits: tuple[DemoPortrait, ...]


@dataclass(frozen=True, slots=True)
class DemoRegistry:
    """Everything that the demo needs.

    Attributes:
        registrations: To be enrolled, in this order.
        subject: The registration that asks for a transfer; its person is in `duplicate` too.
        duplicate: The other registration of the same person.
        probe: A photograph of that person, taken at the counter: a JPEG file.
        stranger: A photograph of somebody who is not registered: a JPEG file.
        sources: Folders that the photographs came from, with the number of people; file names
            are left out, since some are names of people.
        missing: One sentence for each photograph or face that was expected and not found.
    """

    registrations: tuple[Registration, ...]
    subject: Registration
    duplicate: Registration
    probe: bytes = field(repr=False)
    stranger: bytes = field(repr=False)
    sources: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Photographed:
    """One person in one photograph.

    Attributes:
        pixels: The whole photograph.
        face: Where they are in it.
        sex: As it was seen by who listed the photographs.
        source: The photograph's title.
    """

    pixels: Image = field(repr=False)
    face: Face
    sex: str
    source: str


def build_registry(find_faces: FindFaces, *, photographs: Sequence[Photograph] = PHOTOGRAPHS) -> DemoRegistry:
    """Make the registry; the same packages and detector give the same one.

    Args:
        find_faces: Finds the faces in a photograph.
        photographs: Where to look; those that are missing are named in `missing`.

    Raises:
        CommandError: Fewer than four people were found.
    """
    missing: list[str] = []
    found = [person for photograph in photographs for person in _people(photograph, find_faces, missing)]
    if len(found) < LEAST_PEOPLE:
        raise CommandError(
            f"the demo needs photographs of {LEAST_PEOPLE} people and found {len(found)}: "
            + "; ".join(missing)
            + ". Install the versions of requirements.lock."
        )
    *enrolled, stranger = found[: len(_INVENTED) + 1]
    first = [_registration(at, person) for at, person in enumerate(enrolled)]
    twice = _second_registration(enrolled[0])
    return DemoRegistry(
        registrations=(*first, twice),
        subject=twice,
        duplicate=first[0],
        probe=second_photograph(enrolled[0].pixels, enrolled[0].face, seed=2_000),
        stranger=second_photograph(stranger.pixels, stranger.face, seed=2_001),
        sources=tuple(
            f"{source} ({number} {'person' if number == 1 else 'people'})"
            for source, number in _by_folder(found)
        ),
        missing=tuple(missing),
    )


def people(find_faces: FindFaces, *, photographs: Sequence[Photograph] = PHOTOGRAPHS) -> list[Photographed]:
    """Return everybody whom the detector finds in the photographs; the same detector finds the same."""
    return [person for photograph in photographs for person in _people(photograph, find_faces, [])]


def citizen_id_number(birth_date: dt.date, *, sequence: int) -> str:
    """Return a well-formed citizen number that belongs to nobody.

    Args:
        birth_date: Digits 7 to 14.
        sequence: Digits 15 to 17; odd for a man, even for a woman. Source: GB 11643-1999.
    """
    body = f"{_NUMBER_DIVISION}{birth_date:%Y%m%d}{sequence:03d}"
    total = sum(weight * int(digit) for weight, digit in zip(CITIZEN_WEIGHTS, body, strict=True))
    return body + CITIZEN_CHECKS[total % 11]


def _people(photograph: Photograph, find_faces: FindFaces, missing: list[str]) -> Iterator[Photographed]:
    try:
        data = files(photograph.package).joinpath(photograph.path).read_bytes()
    except (ModuleNotFoundError, OSError):
        missing.append(f"{photograph.title} is not in the installed version")
        return
    pixels = decode_portrait(data).pixels
    faces = find_faces(pixels)
    for sitter in photograph.sitters:
        face = _face_at(sitter, faces, pixels) or _looked_closer(sitter, find_faces, pixels)
        if face is None:
            missing.append(f"a face was not found in {photograph.title}")
        else:
            yield Photographed(pixels, face, sitter.sex, photograph.title)


def _by_folder(people: Sequence[Photographed]) -> list[tuple[str, int]]:
    return list(Counter(person.source.rpartition("/")[0] for person in people).items())


def _face_at(sitter: Sitter, faces: Sequence[Face], pixels: Image) -> Face | None:
    height, width = pixels.shape[:2]
    x, y = sitter.x * width, sitter.y * height
    for face in faces:
        left, top, across, down = face.box
        if left <= x <= left + across and top <= y <= top + down:
            return face
    return None


def _looked_closer(sitter: Sitter, find_faces: FindFaces, pixels: Image) -> Face | None:
    """Look for a face in a window around a sitter: a detector for portraits misses small faces in a group."""
    height, width = pixels.shape[:2]
    half = round(CLOSER_SHARE * height / 2)
    left, top = (max(0, round(at * side) - half) for at, side in ((sitter.x, width), (sitter.y, height)))
    window = np.ascontiguousarray(pixels[top : top + 2 * half, left : left + 2 * half])
    moved = [
        replace(
            face,
            box=(face.box[0] + left, face.box[1] + top, face.box[2], face.box[3]),
            landmarks=np.asarray(face.landmarks + np.array([left, top]), np.float32),
        )
        for face in find_faces(window)
    ]
    return _face_at(sitter, moved, pixels)


def _registration(at: int, person: Photographed) -> Registration:
    """Invent a registration; every second person has an additional, older photograph."""
    first = DemoPortrait(id_card_portrait(person.pixels, person.face), dt.date(2019, 5, 4), simulated=False)
    older = []
    if at % 2 == 1:
        image = second_photograph(person.pixels, person.face, seed=1_000 + at)
        older.append(DemoPortrait(image, dt.date(2008, 9, 17), simulated=True))
    return Registration(
        person_id=f"DEMO-{at + 1:04d}",
        name=_INVENTED[at].name,
        label=f"Demo Person {at + 1}",
        fields=_fields(_INVENTED[at], person.sex, at + 1),
        portraits=(first, *older),
    )


def _second_registration(person: Photographed) -> Registration:
    """Invent the other registration of somebody who is registered twice."""
    image = second_photograph(person.pixels, person.face, seed=1_100)
    return Registration(
        person_id="DEMO-0101",
        name=_SECOND_REGISTRATION.name,
        label="Demo Person 1 again",
        fields=_fields(_SECOND_REGISTRATION, person.sex, 101),
        portraits=(DemoPortrait(image, dt.date(2014, 2, 20), simulated=True),),
    )


def _fields(invented: _Invented, sex: str, number: int) -> dict[str, str]:
    sequence = 800 + 2 * (number % 100) - (1 if sex == "1" else 0)
    return {
        "level_code": invented.level_code,
        "citizen_id_number": citizen_id_number(invented.birth_date, sequence=sequence),
        "name": invented.name,
        "sex": sex,
        "birth_date": invented.birth_date.isoformat(),
        "ethnicity": invented.ethnicity,
        "division_code": invented.division_code,
        "category": invented.category,
    }
