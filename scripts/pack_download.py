"""Model packs that can be fetched: from where, under which terms, and with which checksums."""

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import httpx

from index.errors import PackError
from index.pack_manifest import DetectorLayout
from index.pack_store import PackRecipe

CHUNK_BYTES = 1 << 20

Report = Callable[[], None]
"""Told that another CHUNK_BYTES, or the rest of a file, have arrived."""


@dataclass(frozen=True, slots=True)
class Download:
    """One file to fetch.

    Attributes:
        url: Its address; a mirror serves the same file name.
        sha256: Of the whole file.
        size_bytes: Of the whole file; nothing longer is taken.
        members: Files wanted from it, with their SHA-256, if it is a ZIP archive; else none.
    """

    url: str
    sha256: str
    size_bytes: int
    members: tuple[tuple[str, str], ...] = ()

    @property
    def file_name(self) -> str:
        """Last part of the address."""
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True, slots=True)
class PackSource:
    """A published pair of models.

    Attributes:
        name: What `oneperson pack add` calls it.
        licence: Its terms in one sentence.
        licence_url: Where they are written.
        version: The publisher's.
        downloads: What to fetch.
        detector: File name of the detector among what was fetched.
        detector_layout: Its layout.
        encoder: File name of the encoder.
        mean: Subtracted from the encoder's 0-255 RGB input.
        std: Divides what remains.
        input_size: See `DetectorManifest.input_size`.
        fallback_size: See `DetectorManifest.fallback_size`.
    """

    name: str
    licence: str
    licence_url: str
    version: str
    downloads: tuple[Download, ...]
    detector: str
    detector_layout: DetectorLayout
    encoder: str
    mean: float
    std: float
    input_size: int = 320
    fallback_size: int = 640

    @property
    def chunks(self) -> int:
        """Pieces of CHUNK_BYTES to fetch in all; the last of each file may be shorter."""
        return sum(-(-download.size_bytes // CHUNK_BYTES) for download in self.downloads)

    def recipe(self, models: Path, *, name: str) -> PackRecipe:
        """Describe the pack that the fetched models make.

        Args:
            models: Folder that holds them.
            name: Of the pack.
        """
        return PackRecipe(
            name=name,
            version=self.version,
            licence=self.licence,
            source=self.downloads[0].url,
            detector=models / self.detector,
            detector_layout=self.detector_layout,
            encoder=models / self.encoder,
            colour="rgb",
            mean=(self.mean,) * 3,
            std=(self.std,) * 3,
            input_size=self.input_size,
            fallback_size=self.fallback_size,
        )


_ZOO = "https://media.githubusercontent.com/media/opencv/opencv_zoo/47534e27c9851bb1128ccc0102f1145e27f23f98"

SOURCES = {
    source.name: source
    for source in (
        PackSource(
            name="buffalo_l",
            licence="insightface's pretrained models: non-commercial research only; others need its licence",
            licence_url="https://github.com/deepinsight/insightface/tree/master/python-package#license",
            version="v0.7",
            downloads=(
                Download(
                    "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
                    "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
                    288_621_354,
                    members=(
                        (
                            "det_10g.onnx",
                            "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
                        ),
                        (
                            "w600k_r50.onnx",
                            "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43",
                        ),
                    ),
                ),
            ),
            detector="det_10g.onnx",
            detector_layout="scrfd",
            encoder="w600k_r50.onnx",
            mean=127.5,
            std=127.5,
        ),
        PackSource(
            name="opencv-zoo",
            licence="YuNet: MIT. SFace: Apache 2.0. Both permit commercial use",
            licence_url="https://github.com/opencv/opencv_zoo/tree/main/models",
            version="2023mar-2021dec",
            downloads=(
                Download(
                    f"{_ZOO}/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
                    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
                    232_589,
                ),
                Download(
                    f"{_ZOO}/models/face_recognition_sface/face_recognition_sface_2021dec.onnx",
                    "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
                    38_696_353,
                ),
            ),
            detector="face_detection_yunet_2023mar.onnx",
            detector_layout="yunet",
            encoder="face_recognition_sface_2021dec.onnx",
            mean=0.0,
            std=1.0,
        ),
    )
}
"""What can be fetched.

Source of checksums and sizes: the projects' Git LFS pointers, the digest that GitHub shows for the
release, and a dozen independent projects that pin the same. Source of preprocessing: insightface's
`ArcFaceONNX`; OpenCV's `FaceRecognizerSF`, which feeds 0-255 RGB.
"""


def fetch(
    source: PackSource, folder: Path, *, timeout_s: float, mirror: str | None = None, report: Report
) -> None:
    """Download a pack's models, check them, and leave them in a folder.

    Args:
        source: What to fetch.
        folder: An empty folder.
        timeout_s: Longest wait for a connection or for the next bytes.
        mirror: Address of a folder that holds the same files; the checksums stay.
        report: Told as bytes arrive.

    Raises:
        PackError: The server does not answer as it should, or a file is not the one expected.
    """
    for download in source.downloads:
        url = download.url if mirror is None else f"{mirror.rstrip('/')}/{download.file_name}"
        target = folder / download.file_name
        fetch_file(url, target, download, timeout_s=timeout_s, report=report)
        if download.members:
            unpack(target, folder, download.members)
            target.unlink()


def fetch_file(url: str, target: Path, download: Download, *, timeout_s: float, report: Report) -> None:
    """Download one file; it is left in place only if its size and checksum are right.

    Raises:
        PackError: The server does not answer as it should, or the file is not the one expected.
    """
    digest = hashlib.sha256()
    received = 0
    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=timeout_s) as response,
            target.open("wb") as file,
        ):
            if response.status_code != 200:
                raise PackError(
                    f"{url}: the server answered {response.status_code}; try again or use --mirror"
                )
            for chunk in response.iter_bytes(CHUNK_BYTES):
                received += len(chunk)
                if received > download.size_bytes:
                    raise PackError(f"{url}: longer than the {download.size_bytes} bytes expected; not taken")
                digest.update(chunk)
                file.write(chunk)
                report()
        if digest.hexdigest() != download.sha256:
            raise PackError(
                f"{url}: SHA-256 is {digest.hexdigest()} ({received} bytes), expected {download.sha256} "
                f"({download.size_bytes} bytes); not taken"
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        target.unlink(missing_ok=True)
        reason = str(error) or type(error).__name__
        raise PackError(f"{url}: could not be fetched ({reason}); try again or use --mirror") from error
    except OSError as error:
        raise PackError(f"{target}: cannot be written ({error.strerror})") from error
    except PackError:
        target.unlink(missing_ok=True)
        raise


def unpack(archive: Path, folder: Path, members: tuple[tuple[str, str], ...]) -> None:
    """Take the wanted files out of a ZIP archive, by their last name only, and check them.

    Args:
        archive: The ZIP file.
        folder: Where the files are put; never elsewhere, whatever paths the archive holds.
        members: Names and SHA-256.

    Raises:
        PackError: A file is missing, there twice, damaged or not the one expected.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            for name, sha256 in members:
                found = [info for info in opened.infolist() if PurePosixPath(info.filename).name == name]
                if len(found) != 1:
                    raise PackError(f"{archive.name}: holds '{name}' {len(found)} times, expected once")
                _take_out(opened, found[0], folder / name, sha256)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise PackError(f"{archive.name}: is no readable ZIP archive ({error})") from error


def _take_out(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with opened.open(info) as stream, target.open("wb") as file:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != sha256:
        target.unlink()
        raise PackError(f"{info.filename}: SHA-256 is {digest.hexdigest()}, expected {sha256}; not taken")
