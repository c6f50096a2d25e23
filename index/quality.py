"""Quality of a portrait: measures, and the policy that admits or refuses it.

Only three findings refuse a portrait, because a record left out of the gallery is a certain miss: no face,
several faces, eyes closer than the encoder can use. Everything else is a mark that officers see.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np

from index.encoder import template_transform
from index.errors import AlignmentError
from index.face_measures import face_crop, measure_light, measure_pose, measure_sharpness
from index.types import Face, Image

CENTRING = 2.0
"""How fast a face loses weight off the centre: one centred on the picture's edge counts exp(-2) = 0.14.

Source: 1,648 portraits of LFW with YuNet, 306 of them with a second face. By area alone the labelled
(central) face came second in 4 and a ratio above 0.5 refused 111; with this weight 0 and 4.
"""


MAX_CORRECTED_YAW_DEG = 60.0
"""Yaw beyond which the distance between the eyes is corrected no further: there the estimate saturates."""


class QualityReason(StrEnum):
    """Why a portrait is refused."""

    NO_FACE = "no-face"
    SEVERAL_FACES = "several-faces"
    EYES_TOO_CLOSE = "eyes-too-close"


class QualityMark(StrEnum):
    """What an admitted portrait is marked with."""

    OTHER_FACES = "other-faces"
    SMALL_FACE = "small-face"
    OFF_CENTRE = "off-centre"
    CUT_OFF = "cut-off"
    TILTED = "tilted"
    TURNED = "turned"
    PITCHED = "pitched"
    DARK = "dark"
    BRIGHT = "bright"
    LOW_CONTRAST = "low-contrast"
    UNEVEN_LIGHT = "uneven-light"
    BLURRED = "blurred"
    MONOCHROME = "monochrome"
    UNNATURAL_COLOUR = "unnatural-colour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Measures of one portrait, all of its primary face; None where there is no usable face.

    Attributes:
        face_count: Usable faces found.
        monochrome: The picture is grey.
        second_face_ratio: Weight of the second face over that of the first (area inside the picture, less
            off the centre), 0 to 1; 0 with a single face. After OFIQ, SingleFacePresent.
        inter_eye_px: Distance between the eyes in pixels of the decoded picture, over the cosine of yaw: a
            turned head shows its eyes closer without having fewer pixels. After OFIQ, InterEyeDistance.
        roll_deg: See `index.face_measures.Pose`.
        yaw_deg: The same; coarse.
        pitch_deg: The same; coarse.
        luminance_mean: Linear, 0 to 1. After OFIQ, LuminanceMean.
        luminance_spread: Standard deviation. After OFIQ, LuminanceVariance.
        over_exposed: Share of the face. After OFIQ, OverExposurePrevention.
        under_exposed: Share of the face. After OFIQ, UnderExposurePrevention.
        evenness: Darker cheek over brighter, 1 when equal. After OFIQ, IlluminationUniformity; coarse.
        natural_colour: 0 to 1, larger is more natural; None for grey pictures. After OFIQ, NaturalColour.
        sharpness: 0 to 1, larger is sharper, at the encoder's resolution.
        face_width_ratio: Width of the face's box over the picture's. After OFIQ, HeadSize; coarse.
        offset_x: Centre of the box right of the picture's centre, in picture widths. After OFIQ, the crop
            of the face image; coarse.
        offset_y: The same downwards, in picture heights.
        inside: Share of the box's area that lies in the picture.
    """

    face_count: int
    monochrome: bool
    second_face_ratio: float = 0.0
    inter_eye_px: float | None = None
    roll_deg: float | None = None
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    luminance_mean: float | None = None
    luminance_spread: float | None = None
    over_exposed: float | None = None
    under_exposed: float | None = None
    evenness: float | None = None
    natural_colour: float | None = None
    sharpness: float | None = None
    face_width_ratio: float | None = None
    offset_x: float | None = None
    offset_y: float | None = None
    inside: float | None = None

    def as_dict(self) -> dict[str, int | float | bool | None]:
        """Return the measures ready for JSON: pixels and degrees to one decimal, the rest to four."""
        return {name: _rounded(name, value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Admission:
    """What the policy says of one portrait.

    Attributes:
        admitted: Whether it may be enrolled and searched.
        reasons: Why not; empty when admitted. In the order of `QualityReason`.
        marks: Shortcomings that do not refuse it. In the order of `QualityMark`.
    """

    admitted: bool
    reasons: tuple[QualityReason, ...]
    marks: tuple[QualityMark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionPolicy:
    """Thresholds; the first two refuse, the others mark.

    Shares of LFW below are of 1,648 portraits with YuNet, none of which was taken for a register.

    Attributes:
        max_second_face_ratio: A second face of more weight leaves open whose portrait it is. 0.5 refuses
            two persons side by side and 0.2 % of LFW, see `CENTRING`.
        min_inter_eye_px: LFW mates of 150 persons shrunk to 24 px score as at full size (median -0.003,
            YuNet and EdgeFace-XS), to 16 px 0.016 less, to 12 px 0.05 less, to 10 px 0.10 less.
        small_inter_eye_px: Nothing measurable is lost at 24 px, see above.
        min_face_width_ratio: GA 461 has 0.58, ISO/IEC 19794-5 asks for 0.5 to 0.75; with less than 0.2 it
            is no portrait. 0 % of LFW.
        max_offset: A third of the way from the centre to the edge. 0 % of LFW, 0.7 % of ORL and Yale.
        min_inside: A tenth of the face is missing. 0 % of LFW.
        max_roll_deg: ISO/IEC 19794-5 asks for 8 at capture; 15 is visible at a glance. 0.1 % of LFW.
        max_yaw_deg: ISO/IEC 19794-5 asks for 5; ours errs by 5 to 10. 11 % of LFW, 0.5 % of ORL.
        max_pitch_deg: The same. 0.1 % of LFW.
        min_luminance: OFIQ's quality halves at 0.2, where a quarter of LFW would be marked; a quarter of that
            is dark whatever the skin. 0.1 % of LFW.
        max_luminance: OFIQ's quality halves at 0.8. 0 % of LFW.
        max_under_exposed: OFIQ's quality halves at 0.9. 0 % of LFW.
        max_over_exposed: OFIQ's quality has fallen to 5 of 100 at 0.2. 0 % of LFW.
        min_luminance_spread: Faded or fogged. 0.1 % of LFW.
        min_evenness: One cheek has less than a third of the other's light. 7 % of LFW, and 28 of Yale's 30
            portraits lit from one side.
        min_natural_colour: OFIQ's quality of 25 of 100. 0.5 % of LFW.
        min_sharpness: The median of LFW falls below 0.3 when blurred with a sigma of 0.05 eye distances,
            where mates score 0.035 less; 0.07 costs 0.11 and 0.10 costs 0.24. 0 % of LFW.
    """

    max_second_face_ratio: float = 0.5
    min_inter_eye_px: float = 16.0
    small_inter_eye_px: float = 24.0
    min_face_width_ratio: float = 0.2
    max_offset: float = 1 / 6
    min_inside: float = 0.9
    max_roll_deg: float = 15.0
    max_yaw_deg: float = 25.0
    max_pitch_deg: float = 25.0
    min_luminance: float = 0.05
    max_luminance: float = 0.8
    max_under_exposed: float = 0.9
    max_over_exposed: float = 0.2
    min_luminance_spread: float = 0.03
    min_evenness: float = 1 / 3
    min_natural_colour: float = 0.25
    min_sharpness: float = 0.3

    def judge(self, quality: Quality) -> Admission:
        """Admit or refuse a portrait by its measures; a refused one carries its marks too."""
        reasons = tuple(self._reasons(quality))
        return Admission(admitted=not reasons, reasons=reasons, marks=tuple(self._marks(quality)))

    def _reasons(self, quality: Quality) -> Iterator[QualityReason]:
        if quality.face_count == 0:
            yield QualityReason.NO_FACE
        if quality.second_face_ratio > self.max_second_face_ratio:
            yield QualityReason.SEVERAL_FACES
        if _below(quality.inter_eye_px, self.min_inter_eye_px):
            yield QualityReason.EYES_TOO_CLOSE

    def _marks(self, quality: Quality) -> Iterator[QualityMark]:
        found = {
            QualityMark.OTHER_FACES: quality.face_count > 1,
            QualityMark.SMALL_FACE: _below(quality.inter_eye_px, self.small_inter_eye_px)
            or _below(quality.face_width_ratio, self.min_face_width_ratio),
            QualityMark.OFF_CENTRE: _beyond(quality.offset_x, self.max_offset)
            or _beyond(quality.offset_y, self.max_offset),
            QualityMark.CUT_OFF: _below(quality.inside, self.min_inside),
            QualityMark.TILTED: _beyond(quality.roll_deg, self.max_roll_deg),
            QualityMark.TURNED: _beyond(quality.yaw_deg, self.max_yaw_deg),
            QualityMark.PITCHED: _beyond(quality.pitch_deg, self.max_pitch_deg),
            QualityMark.DARK: _below(quality.luminance_mean, self.min_luminance)
            or _beyond(quality.under_exposed, self.max_under_exposed),
            QualityMark.BRIGHT: _beyond(quality.luminance_mean, self.max_luminance)
            or _beyond(quality.over_exposed, self.max_over_exposed),
            QualityMark.LOW_CONTRAST: _below(quality.luminance_spread, self.min_luminance_spread),
            QualityMark.UNEVEN_LIGHT: _below(quality.evenness, self.min_evenness),
            QualityMark.BLURRED: _below(quality.sharpness, self.min_sharpness),
            QualityMark.MONOCHROME: quality.monochrome,
            QualityMark.UNNATURAL_COLOUR: _below(quality.natural_colour, self.min_natural_colour),
        }
        return (mark for mark, applies in found.items() if applies)


def rank_faces(faces: Sequence[Face], image: Image) -> list[tuple[float, Face]]:
    """Order the usable faces of a picture by how much they look like its subject.

    The weight is the area of the box inside the picture, in pixels, times exp(-`CENTRING` r^2), where r is
    the distance of its centre from the picture's, in half widths and half heights.

    Args:
        faces: As a detector reports them, in any order. Not modified.
        image: The picture that they were found in.

    Returns:
        Weight and face, heaviest first; ties go to the surer detection, then to the upper left. Faces
        whose numbers are not finite, whose points lie in one place, or that lie outside are left out.
    """
    weighed = [(_weight(face, image), face) for face in faces if _is_usable(face)]
    seen = [pair for pair in weighed if pair[0] > 0]
    return sorted(seen, key=lambda pair: (-pair[0], -pair[1].score, pair[1].box[1], pair[1].box[0]))


def primary_face(faces: Sequence[Face], image: Image) -> Face | None:
    """Choose the subject of a portrait: the first of `rank_faces`, None when no face is usable."""
    ranked = rank_faces(faces, image)
    return ranked[0][1] if ranked else None


def measure_quality(image: Image, faces: Sequence[Face], *, monochrome: bool) -> Quality:
    """Measure a portrait by its primary face.

    Args:
        image: The decoded picture. Not modified.
        faces: Every face found in it, in any order.
        monochrome: What `decode_portrait` said.
    """
    ranked = rank_faces(faces, image)
    if not ranked:
        return Quality(face_count=0, monochrome=monochrome)
    face = ranked[0][1]
    crop = face_crop(image, face.landmarks)
    pose, light = measure_pose(face.landmarks), measure_light(crop)
    x, y, width, height = face.box
    rows, columns = image.shape[:2]
    return Quality(
        face_count=len(ranked),
        monochrome=monochrome,
        second_face_ratio=ranked[1][0] / ranked[0][0] if len(ranked) > 1 else 0.0,
        inter_eye_px=_inter_eye_px(face, pose.yaw_deg),
        roll_deg=pose.roll_deg,
        yaw_deg=pose.yaw_deg,
        pitch_deg=pose.pitch_deg,
        luminance_mean=light.mean,
        luminance_spread=light.spread,
        over_exposed=light.over_exposed,
        under_exposed=light.under_exposed,
        evenness=light.evenness,
        natural_colour=None if monochrome else light.natural_colour,
        sharpness=measure_sharpness(crop),
        face_width_ratio=width / columns,
        offset_x=(x + width / 2) / columns - 0.5,
        offset_y=(y + height / 2) / rows - 0.5,
        inside=_area_inside(face, image) / (width * height),
    )


def _inter_eye_px(face: Face, yaw_deg: float) -> float:
    seen = float(np.linalg.norm(face.landmarks[1] - face.landmarks[0]))
    return seen / math.cos(math.radians(min(abs(yaw_deg), MAX_CORRECTED_YAW_DEG)))


def _is_usable(face: Face) -> bool:
    if not all(map(math.isfinite, (*face.box, face.score))) or min(face.box[2:]) <= 0:
        return False
    try:
        template_transform(face.landmarks)
    except AlignmentError:
        return False
    return True


def _weight(face: Face, image: Image) -> float:
    x, y, width, height = face.box
    rows, columns = image.shape[:2]
    off_x, off_y = (x + width / 2) / columns * 2 - 1, (y + height / 2) / rows * 2 - 1
    return _area_inside(face, image) * math.exp(-CENTRING * (off_x * off_x + off_y * off_y))


def _area_inside(face: Face, image: Image) -> float:
    x, y, width, height = face.box
    rows, columns = map(float, image.shape[:2])
    across = max(0.0, min(columns, x + width) - max(0.0, x))
    along = max(0.0, min(rows, y + height) - max(0.0, y))
    return across * along


def _below(value: float | None, least: float) -> bool:
    return value is not None and value < least


def _beyond(value: float | None, most: float) -> bool:
    return value is not None and abs(value) > most


def _rounded(name: str, value: float | None) -> float | None:
    if not isinstance(value, float):
        return value
    return round(value, 1 if name.endswith(("_px", "_deg")) else 4)
