"""Measures a detector against its floors; needs no torch: python -m scripts.train.measure_detector --help."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import cv2
import numpy as np
import onnxruntime
import typer

from index.detector import Detector, ScrfdModel, SquareDetector, YunetModel, configure_opencv
from index.landmarks import LandmarkRefiner
from index.pack import model_sha256
from index.pack_manifest import DetectorLayout, DetectorManifest, LandmarksManifest
from index.rates import proportion
from index.types import Image, Points
from scripts.progress import progress
from scripts.train.detector_compose import MIRRORED_POINTS
from scripts.train.detector_faceless import faceless_picture, surroundings
from scripts.train.detector_figures import (
    ENOUGH_OVERLAP,
    Findings,
    overlap,
    point_error,
    rate_entry,
    seen_in,
    times_ms,
)
from scripts.train.detector_trials import id_portrait, small_face, turned
from scripts.train.landmark_views import MARGIN, VIEW_PX
from scripts.train.scenes import Scenes, unpack_scenes

FLOORS = {"found": 0.995, "point_error_median": 0.04, "silent": 0.99}
"""Least share of the labelled pictures whose face is found, largest median error of the points against YuNet
(share of the eyes' distance), least share of the face-free pictures in which nothing is reported."""

FACELESS = 1000
"""Face-free pictures: half are drawn, half are cut beside the faces of the labelled pictures."""

SMALL_FACES_PX = (12, 16, 24, 32, 48)
"""Sizes of faces, in pixels of the square of 320, that are tried."""

TURNS_DEG = (-30, -20, -10, 0, 10, 20, 30)
"""Turns that are tried; training shows up to 20 degrees."""

BORDERS = (0.05, 0.1, 0.13, 0.17, 0.2, 0.25)
"""Margins at which YuNet is asked about a picture and its mirror image, to tell its opinion from its noise;
the one at which it is the reference, 0.15, is not among them."""

_SEED = 20261126

_CERTAIN = 0.3
"""Score below which YuNet is certain that there is no face: half of its usual threshold."""


def measure(
    model: Annotated[Path, typer.Argument(help="The detector's ONNX file.")],
    *,
    evaluation: Annotated[Path, typer.Option("--eval", help="Labelled pictures: manifest.csv and files.")],
    scenes: Annotated[Path, typer.Option(help="Folder of whole pictures: labels.csv and scenes.zip.")],
    yunet: Annotated[Path, typer.Option(help="Folder of YuNet's ONNX files, to compare with.")],
    work: Annotated[Path, typer.Option(help="Where the decoded scenes are kept.")],
    layout: Annotated[Literal["scrfd", "yunet"], typer.Option(help="Of the model's outputs.")] = "scrfd",
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Weakest face reported.")] = 0.6,
    size: Annotated[int, typer.Option(help="Side of the square that pictures are fitted into.")] = 320,
    border: Annotated[float, typer.Option(help="Margin in it, as a share of the longer side.")] = 0.15,
    fallback: Annotated[int, typer.Option(help="Side tried when nothing was found; 0: none.")] = 640,
    landmarks: Annotated[Path | None, typer.Option(help="ONNX file that corrects the points.")] = None,
    landmarks_threshold: Annotated[float, typer.Option(help="From which on it sees a face.")] = 0.5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where the figures are written.")] = None,
) -> None:
    """Measure a detector through the loader of the packs; exit with 1 when a floor does not hold."""
    configure_opencv(1)
    second = None if landmarks is None else load_refiner(landmarks, threshold=landmarks_threshold)
    look = {"threshold": threshold, "fallback": fallback, "border": border, "size": size}
    detector = load_detector(
        model, layout, threshold=threshold, fallback=fallback, border=border, size=size, refiner=second
    )
    reference = load_detector(yunet / "yunet_n_320_320.onnx", "yunet", threshold=0.6, fallback=0)
    wary = load_detector(yunet / "yunet_n_dynamic.onnx", "yunet", threshold=_CERTAIN, fallback=640)
    figures: dict[str, Any] = {"model": model_sha256(model)} | look
    if landmarks is not None:
        figures |= {"landmarks": model_sha256(landmarks), "landmarks_threshold": landmarks_threshold}
    figures["eval"] = measure_labelled(evaluation, detector, reference)
    moved = load_detector(yunet / "yunet_n_320_320.onnx", "yunet", threshold=0.6, fallback=0, border=0.1)
    figures["yunet_against_itself"] = measure_labelled(evaluation, moved, reference, every=10)["all"]
    looks = [
        load_detector(yunet / "yunet_n_320_320.onnx", "yunet", threshold=0.6, fallback=0, border=one)
        for one in BORDERS
    ]
    figures["against_yunets_mean"] = measure_against_mean(evaluation, detector, reference, looks, every=10)
    figures["faceless"] = measure_faceless(evaluation, detector, wary)
    held_out = unpack_scenes(scenes, work)
    figures["held_out"] = measure_held_out(held_out, detector)
    first = held_out[int(np.flatnonzero(held_out.held_out)[0])]
    portrait, _ = id_portrait(first, np.random.default_rng(_SEED))
    pair: dict[str, Detector] = {"detector": detector, "yunet": reference}
    figures["ms_per_portrait_358x441"] = times_ms(pair, portrait, calls=300)
    figures["floors"] = floors(figures)
    text = json.dumps(figures, indent=1)
    print(text)
    if json_file is not None:
        json_file.write_text(text + "\n", encoding="utf-8")
    raise typer.Exit(0 if all(figures["floors"].values()) else 1)


def load_detector(
    model: Path,
    layout: DetectorLayout,
    *,
    threshold: float,
    fallback: int,
    border: float = 0.15,
    size: int = 320,
    refiner: LandmarkRefiner | None = None,
) -> SquareDetector:
    """Load a detector as a pack would, on one thread.

    Args:
        model: The ONNX file.
        layout: Of its outputs.
        threshold: Weakest face reported.
        fallback: Side tried when nothing was found; 0: none.
        border: Empty margin about the picture, as a share of its longer side.
        size: Side of the square that pictures are fitted into.
        refiner: Corrects the points; None: nothing does.
    """
    manifest = DetectorManifest(
        layout=layout,
        file=model.name,
        sha256=model_sha256(model),
        input_size=size,
        fallback_size=fallback,
        border=border,
        score_threshold=threshold,
    )
    if layout == "yunet":
        return SquareDetector(YunetModel(model.read_bytes(), manifest), manifest, refiner)
    return SquareDetector(ScrfdModel(str(model), _session(model), manifest), manifest, refiner)


def load_refiner(model: Path, *, threshold: float) -> LandmarkRefiner:
    """Load what corrects the points as a pack would, on one thread.

    Args:
        model: The ONNX file.
        threshold: Score from which on it sees a face.
    """
    manifest = LandmarksManifest(
        file=model.name,
        sha256=model_sha256(model),
        input_size=VIEW_PX,
        margin=MARGIN,
        score_threshold=threshold,
    )
    return LandmarkRefiner(_session(model), manifest)


def _session(model: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def measure_labelled(
    directory: Path, detector: Detector, reference: Detector, *, every: int = 1
) -> dict[str, Any]:
    """Compare with YuNet on labelled pictures, by collection and on all.

    The face that counts is the largest one that YuNet sees, for that is the one which the product encodes.
    Pictures in the wild show bystanders: `one_face_seen_by_yunet` leaves those out.

    Args:
        directory: Holds `manifest.csv` and the pictures.
        detector: What is measured. YuNet itself with a narrower border tells how far its points move
            with the picture, and so how near to them another detector can come.
        reference: YuNet.
        every: Look at one picture of so many.
    """
    tallies: dict[str, Findings] = defaultdict(Findings)
    boxes = []
    rows = _manifest(directory)[::every]
    with progress("labelled pictures", len(rows)) as shown:
        for row in rows:
            picture = _read(directory / row["path"])
            expected, faces = reference.detect(picture), detector.detect(picture)
            shown.advance(1)
            if not expected:
                continue
            names = ["all", row["source"]] + (["one_face_seen_by_yunet"] if len(expected) == 1 else [])
            for name in names:
                tallies[name].add(faces, expected[0].landmarks)
            boxes.append(bool(faces) and overlap(faces[0], expected[0]) >= ENOUGH_OVERLAP)
    report: dict[str, Any] = {name: tally.summary() for name, tally in tallies.items()}
    report["box_overlaps_yunets"] = rate_entry(proportion(sum(boxes), len(boxes)))
    return report


def measure_against_mean(
    directory: Path, detector: Detector, reference: Detector, looks: Sequence[Detector], *, every: int
) -> dict[str, Any]:
    """Compare points with the mean of what YuNet says of a picture at several sizes and mirrored.

    YuNet's points move with the picture, so a single answer of it is a noisy reference: how far that is from
    its own mean is the least by which anybody can be off it.

    Args:
        directory: Holds `manifest.csv` and the pictures; those in which YuNet sees one face count.
        detector: What is measured.
        reference: YuNet as it is compared with elsewhere.
        looks: YuNet with other margins.
        every: Look at one picture of so many.
    """
    errors: dict[str, list[float]] = defaultdict(list)
    for row in _manifest(directory)[::every]:
        picture = _read(directory / row["path"])
        said = [one for look in looks for one in (_only(look, picture), _mirrored(look, picture))]
        answers = {
            "detector": _only(detector, picture),
            "detector_mirrored": _mirrored(detector, picture),
            "yunet": _only(reference, picture),
        }
        known = [points for points in said if points is not None]
        if len(known) < len(said) or any(points is None for points in answers.values()):
            continue
        mean = np.mean(known, axis=0).astype(np.float32)
        for name, points in answers.items():
            errors[name].append(point_error(cast(Points, points), mean))
        errors["detector_to_mirrored"].append(
            point_error(cast(Points, answers["detector_mirrored"]), cast(Points, answers["detector"]))
        )
    medians = {name: round(float(np.median(values)), 4) for name, values in errors.items()}
    return {"pictures": len(errors["yunet"])} | medians


def _only(detector: Detector, picture: Image) -> Points | None:
    faces = detector.detect(picture)
    return faces[0].landmarks if len(faces) == 1 else None


def _mirrored(detector: Detector, picture: Image) -> Points | None:
    """Return the points that are found in the mirror image, mirrored back."""
    points = _only(detector, np.ascontiguousarray(picture[:, ::-1]))
    if points is None:
        return None
    back = np.column_stack([picture.shape[1] - 1 - points[:, 0], points[:, 1]])
    return np.asarray(back[list(MIRRORED_POINTS)], np.float32)


def measure_faceless(directory: Path, detector: Detector, wary: Detector) -> dict[str, Any]:
    """Count the face-free pictures in which something is reported.

    Args:
        directory: Labelled pictures, whose surroundings are cut out.
        detector: What is measured.
        wary: Decides, with a low threshold, where faces may be; nothing in which it sees one is used.
    """
    chance = np.random.default_rng(_SEED)
    drawn = seen_in(detector, (faceless_picture(chance) for _ in range(FACELESS // 2)))
    parts = _certified(directory, wary, chance)
    cut = seen_in(detector, (part for part, _ in zip(parts, range(FACELESS // 2), strict=False)))
    best = drawn + cut
    return {
        "pictures": len(best),
        "silent": rate_entry(proportion(best.count(0.0), len(best))),
        "silent_drawn": rate_entry(proportion(drawn.count(0.0), len(drawn))),
        "silent_cut": rate_entry(proportion(cut.count(0.0), len(cut))),
        "best_scores": [round(score, 3) for score in sorted(best, reverse=True)[:20] if score > 0],
    }


def measure_held_out(scenes: Scenes, detector: Detector) -> dict[str, Any]:
    """Measure on portraits, small faces and turned pictures made of scenes that were not trained on."""
    chance = np.random.default_rng(_SEED)
    tallies: dict[str, Findings] = defaultdict(Findings)
    sideways: dict[int, list[bool]] = {90: [], 180: [], 270: []}
    numbers = np.flatnonzero(scenes.held_out)
    for number in numbers:
        scene = scenes[int(number)]
        trials = {"portrait_358x441": id_portrait(scene, chance)}
        trials[f"portrait_358x441_{scenes.sources[number]}"] = trials["portrait_358x441"]
        # Sizes in the square of 320: the loader's border leaves 246 pixels for the picture's 960.
        for size_px in SMALL_FACES_PX:
            trials[f"small_{size_px}px"] = small_face(scene, size_px * 960 * 1.3 / 320, 960)
        trials |= {f"turned_{deg}": turned(scene, deg) for deg in TURNS_DEG}
        for name, (picture, points) in trials.items():
            tallies[name].add(detector.detect(picture), points)
        for deg, reported in sideways.items():
            reported.append(bool(detector.detect(turned(scene, deg)[0])))
    report: dict[str, Any] = {name: tally.summary() for name, tally in tallies.items()}
    report["reported_though_sideways"] = {
        str(deg): rate_entry(proportion(sum(reported), len(numbers))) for deg, reported in sideways.items()
    }
    return report


def floors(figures: dict[str, Any]) -> dict[str, bool]:
    """Tell which floors hold."""
    labelled = figures["eval"]["all"]
    return {
        "found": labelled["found"]["value"] >= FLOORS["found"],
        "point_error_median": labelled["point_error_median"] <= FLOORS["point_error_median"],
        "silent": figures["faceless"]["silent"]["value"] >= FLOORS["silent"],
    }


def _certified(directory: Path, wary: Detector, chance: np.random.Generator) -> Iterator[Image]:
    """Give parts of labelled pictures in which not even a wary detector sees a face, in a drawn order."""
    rows = _manifest(directory)
    for place in chance.permutation(len(rows)):
        picture = _read(directory / rows[place]["path"])
        faces = wary.detect(picture)
        if not faces:
            continue
        part = surroundings(picture, np.array([face.box for face in faces]), chance)
        if part is not None and not wary.detect(part):
            yield part


def _manifest(directory: Path) -> list[dict[str, str]]:
    with (directory / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _read(path: Path) -> Image:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise typer.BadParameter(f"{path}: cannot be read as a picture")
    return np.ascontiguousarray(picture[:, :, ::-1], np.uint8)


if __name__ == "__main__":
    typer.run(measure)
