"""Templates of labelled portraits, kept on disk as they are made, so that interrupted work goes on."""

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from index.errors import EvaluationError, PortraitError
from index.extraction import Extractor, Template
from index.labelled import LabelledPicture

BLOCK = 64
"""Pictures encoded before what was made is written down; that much work is lost at most."""

Advance = Callable[..., None]
"""Called with `count` and `worked=`, see `scripts.progress.Progress.advance`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture.

    Attributes:
        template: None when the picture failed.
        reasons: Why it failed; empty when it did not.
    """

    template: Template | None = field(repr=False)
    reasons: tuple[str, ...] = ()


def encode_labelled(
    directory: Path,
    pictures: Sequence[LabelledPicture],
    extractor: Extractor,
    *,
    cache_dir: Path,
    threads: int = 2,
    advance: Advance | None = None,
) -> list[Outcome]:
    """Encode pictures as the product would, taking from the cache what was encoded before.

    Args:
        directory: What the pictures' paths are relative to.
        pictures: Which.
        extractor: Makes the templates.
        cache_dir: Keeps templates by pack, rules and the file's SHA-256; made if need be. It holds
            biometric data.
        threads: Pictures encoded at once.
        advance: Told of finished pictures.

    Returns:
        One outcome per picture, in their order.

    Raises:
        EvaluationError: A picture cannot be read from disk.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    path = cache_dir / f"templates-{extractor.rules_id[:16]}.jsonl"
    known = _read(path, extractor.pack.dimension)
    outcomes: list[Outcome] = []
    with path.open("a", encoding="ascii") as cache, ThreadPoolExecutor(threads) as pool:
        cache.write("\n")  # A line that a crash cut off must not swallow the next one.
        for start in range(0, len(pictures), BLOCK):
            block = pictures[start : start + BLOCK]
            made = list(pool.map(lambda p: _outcome(directory / p.path, extractor, known), block))
            fresh = [pair for pair in made if pair[0] not in known]
            _append(cache, fresh)
            known.update(fresh)
            outcomes += [known[digest] for digest, _ in made]
            if advance is not None:
                advance(len(fresh))
                advance(len(block) - len(fresh), worked=False)
    return outcomes


def _outcome(path: Path, extractor: Extractor, known: dict[str, Outcome]) -> tuple[str, Outcome]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EvaluationError(f"{path}: cannot be read ({error.strerror})") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest in known:
        return digest, known[digest]
    try:
        extraction = extractor.extract(data)
    except PortraitError as error:
        return digest, Outcome(None, (error.reason,))
    return digest, Outcome(extraction.template, tuple(map(str, extraction.admission.reasons)))


def _append(cache: TextIO, outcomes: Sequence[tuple[str, Outcome]]) -> None:
    for digest, outcome in outcomes:
        template = outcome.template
        text = None if template is None else base64.b64encode(template.astype("<f4").tobytes()).decode()
        row = {"sha256": digest, "template": text, "reasons": outcome.reasons}
        cache.write(json.dumps(row) + "\n")
    cache.flush()


def _read(path: Path, dimension: int) -> dict[str, Outcome]:
    """Read the cache; a line cut off by a crash, or damaged, counts as not there."""
    known: dict[str, Outcome] = {}
    if not path.exists():
        return known
    with path.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            try:
                row = json.loads(line)
                text, reasons = row["template"], tuple(row["reasons"])
                template = None if text is None else np.frombuffer(base64.b64decode(text), "<f4")
                digest = row["sha256"]
            except (ValueError, KeyError, TypeError):
                continue
            if template is None or (template.shape == (dimension,) and np.isfinite(template).all()):
                known[digest] = Outcome(template, reasons)
    return known
