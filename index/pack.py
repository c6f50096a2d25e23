"""Model packs: loading and verifying the models that make templates.

One loader runs every pack, over sessions of our own: explicit threads, the
processor only, nothing downloaded.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

from index.detector import Detector, ScrfdModel, SquareDetector, YunetModel, configure_opencv
from index.encoder import ARCFACE_TEMPLATE, Encoder
from index.errors import PackError
from index.landmarks import LandmarkRefiner
from index.pack_manifest import (
    MANIFEST_NAME,
    Colour,
    DetectorLayout,
    DetectorManifest,
    EncoderManifest,
    LandmarksManifest,
    PackManifest,
    read_manifest,
    write_manifest,
)
from index.types import Face, Image

__all__ = [
    "MANIFEST_NAME",
    "Colour",
    "DetectorLayout",
    "DetectorManifest",
    "EncoderManifest",
    "LandmarksManifest",
    "Pack",
    "PackManifest",
    "encoder_dimension",
    "load_pack",
    "model_sha256",
    "read_manifest",
    "verify_pack",
    "write_manifest",
]

MAX_MODEL_BYTES = 2 * 1024**3
"""Largest model file read: the limit of the format that ONNX files are written in (protobuf)."""


@dataclass(frozen=True, slots=True)
class Pack:
    """A loaded model pack; safe to use from several threads at once.

    Attributes:
        manifest: What `pack.toml` says.
        detector: Finds faces; where the pack has a refiner, their points are corrected by it.
        encoder: Turns aligned faces into vectors.
        refiner: What the detector corrects points with; None: it has none.
    """

    manifest: PackManifest
    detector: Detector = field(repr=False)
    encoder: Encoder = field(repr=False)
    refiner: LandmarkRefiner | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The pack's name."""
        return self.manifest.name

    @property
    def contract_id(self) -> str:
        """Identifies the templates that this pack makes, see `PackManifest.contract_id`."""
        return self.manifest.contract_id

    @property
    def dimension(self) -> int:
        """Length of the templates, d."""
        return self.manifest.encoder.dimension


def load_pack(directory: Path, *, threads: int = 1) -> Pack:
    """Load a pack and try it once on an empty picture.

    Args:
        directory: Holds `pack.toml` and the ONNX files.
        threads: Threads inside one inference; callers that run several inferences at once want 1.

    Raises:
        PackError: Something is missing, altered, of another layout, or does not run.
    """
    manifest = read_manifest(directory)
    refiner = None
    if manifest.landmarks is not None:
        refiner = _load_refiner(directory, manifest.landmarks, threads=threads)
    detector = _load_detector(directory, manifest.detector, refiner, threads=threads)
    encoder = _load_encoder(directory, manifest.encoder, threads=threads)
    pack = Pack(manifest, detector, encoder, refiner)
    _try_out(pack)
    return pack


def verify_pack(directory: Path) -> PackManifest:
    """Check a pack's files against its manifest, load it, and check that its answers are steady.

    Returns:
        The manifest.

    Raises:
        PackError: Whatever `load_pack` raises, or crops encoded together differ from crops encoded alone,
            or views of faces do.
    """
    pack = load_pack(directory)
    random = np.random.default_rng(0)
    _check_encoder(pack, list(random.integers(0, 256, (3, 112, 112, 3), np.uint8)))
    if pack.refiner is not None:
        size = pack.refiner.view_size
        _check_refiner(pack.refiner, list(random.integers(0, 256, (3, size, size, 3), np.uint8)))
    return pack.manifest


def _check_encoder(pack: Pack, crops: list[Image]) -> None:
    together = pack.encoder.encode(crops)
    alone = np.concatenate([pack.encoder.encode([crop]) for crop in crops])
    # Batched kernels may round differently; a cosine of 0.999 is far above any threshold.
    if float((together * alone).sum(axis=1).min()) < 0.999:
        raise PackError(
            f"{pack.manifest.encoder.file}: encodes crops differently alone and together; "
            "export it for inference, with batch normalisation frozen"
        )


def _check_refiner(refiner: LandmarkRefiner, views: list[Image]) -> None:
    together = refiner.answers(views)
    alone = np.concatenate([refiner.answers([view]) for view in views])
    # A hundredth of a view's side is a third of a pixel of the crop that the encoder sees.
    if not np.allclose(together, alone, rtol=0.01, atol=0.01):
        raise PackError(
            f"{refiner.file}: sees faces differently alone and together; "
            "export it for inference, with batch normalisation frozen"
        )


def model_sha256(path: Path) -> str:
    """Return the SHA-256 of a model file, in hexadecimal.

    Raises:
        PackError: There is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror}); put the model file there") from error


def encoder_dimension(path: Path) -> int:
    """Find the length of an encoder's vectors by running it once on an empty crop.

    Raises:
        PackError: The model does not load or is not of the layout `arcface`.
    """
    session = _session(_read_model(path, model_sha256(path)), path, threads=1)
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        raise PackError(f"{path.name}: layout 'arcface' has one input and one output; this model has others")
    crop = np.zeros((1, 3, 112, 112), np.float32)
    try:
        output = np.asarray(session.run(None, {session.get_inputs()[0].name: crop})[0])
    except Exception as error:  # The runtime raises classes of its own that it does not export.
        raise PackError(f"{path.name}: takes no 1 x 3 x 112 x 112 crop ({_brief(error)})") from error
    if output.ndim != 2 or output.shape[0] != 1:
        raise PackError(f"{path.name}: gives shape {output.shape} for one crop, expected 1 x d")
    return int(output.shape[1])


def _read_model(path: Path, expected_sha256: str) -> bytes:
    """Read a model file and check that it is the one that the manifest names."""
    try:
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise PackError(f"{path}: larger than {MAX_MODEL_BYTES} bytes")
        model = path.read_bytes()
    except OSError as error:
        raise PackError(f"{path}: cannot be read ({error.strerror}); put the model file there") from error
    found = hashlib.sha256(model).hexdigest()
    if found != expected_sha256:
        raise PackError(
            f"{path}: SHA-256 is {found}, but the manifest says {expected_sha256}; "
            "the file was altered or damaged: fetch it again"
        )
    return model


def _session(model: bytes, path: Path, *, threads: int) -> onnxruntime.InferenceSession:
    """Open a model from bytes whose checksum was just checked.

    The runtime is kept from trying a second time what failed, which it tells on standard output.

    Weights in a second file beside the model are refused by the runtime, as bytes have no folder; so
    the checksum covers everything that runs.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # The runtime raises classes of its own that it does not export.
        raise PackError(f"{path}: onnxruntime cannot load it ({_brief(error)})") from error


def _load_detector(
    directory: Path, manifest: DetectorManifest, refiner: LandmarkRefiner | None, *, threads: int
) -> Detector:
    path = _inside(directory, manifest.file)
    model = _read_model(path, manifest.sha256)
    session = _session(model, path, threads=threads)
    configure_opencv(threads)
    if manifest.layout == "scrfd":
        return SquareDetector(ScrfdModel(str(path), session, manifest), manifest, refiner)
    if len(session.get_outputs()) != 12:
        raise PackError(f"{manifest.file}: layout 'yunet' has 12 outputs; see [detector] layout")
    return SquareDetector(YunetModel(model, manifest), manifest, refiner)


def _load_refiner(directory: Path, manifest: LandmarksManifest, *, threads: int) -> LandmarkRefiner:
    path = _inside(directory, manifest.file)
    return LandmarkRefiner(_session(_read_model(path, manifest.sha256), path, threads=threads), manifest)


def _load_encoder(directory: Path, manifest: EncoderManifest, *, threads: int) -> Encoder:
    path = _inside(directory, manifest.file)
    session = _session(_read_model(path, manifest.sha256), path, threads=threads)
    return Encoder(str(path), session, manifest)


def _inside(directory: Path, name: str) -> Path:
    """Refuse a link that leads out of the pack; the manifest already refuses separators in names."""
    path = directory / name
    if path.resolve().parent != directory.resolve():
        raise PackError(f"{path}: leads out of the pack; put the file itself there")
    return path


def _try_out(pack: Pack) -> None:
    grey = np.full((112, 112, 3), 127, np.uint8)
    try:
        pack.detector.detect(grey)
        if pack.refiner is not None:  # The detector finds no face there, so it is given one.
            face = Face((0.0, 0.0, 112.0, 112.0), 1.0, ARCFACE_TEMPLATE.astype(np.float32))
            pack.refiner.refine(grey, [face])
        pack.encoder.encode([grey])
    except PackError:
        raise
    except Exception as error:  # Whatever the runtimes raise: the models do not fit their layouts.
        raise PackError(f"pack '{pack.name}': does not run on a plain picture ({_brief(error)})") from error


def _brief(error: Exception) -> str:
    """Return the first line of a message, shortened."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
