"""What all tests share: the material beside the project, model packs, and what a machine promises to have."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from index.extraction import Extractor
from index.pack import load_pack

pytest_plugins = ["tests.databases", "tests.milvus", "tests.s3"]

os.environ.setdefault("ONEPERSON_ENCRYPTION_KEYS", "b25lcGVyc29uIHRlc3RzOiBub3QgYSBzZWNyZXQga2U=")
"""One key for all tests, so that what one process seals another opens."""

os.environ.setdefault("ONEPERSON_AUDIT_KEY", "5e" * 32)
"""Likewise for the audit log: whatever is recorded in a test's database belongs to one chain."""

PROMISES = {
    "faces": "REQUIRE_FACES",
    "browser": "REQUIRE_BROWSER",
    "postgres": "REQUIRE_POSTGRES",
    "milvus": "REQUIRE_MILVUS",
    "ray": "REQUIRE_RAY",
    "s3": "REQUIRE_S3",
}
"""Environment variables that turn a skip into a failure, by mark."""


def unavailable(mark: str, reason: str) -> NoReturn:
    """Skip a test or module whose mark cannot be served here, or fail where the machine promised to.

    Args:
        mark: A key of `PROMISES`.
        reason: What is missing, and where it was looked for.
    """
    variable = PROMISES[mark]
    if os.environ.get(variable) == "1":
        pytest.fail(f"{variable}=1, but {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The optional material beside the project; SHARED_DIR names another place."""
    beside = Path(__file__).parents[2] / "shared"
    directory = Path(os.environ.get("SHARED_DIR", beside))
    if not (directory / "models" / "yunet").is_dir():
        unavailable("faces", f"there are no portraits and models at {directory}")
    return directory


@pytest.fixture(scope="session")
def synthetic_pack_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model pack made of nothing, see `tests.synthetic`."""
    from tests.synthetic import make_synthetic_pack  # Imports onnx, which few tests need.

    return make_synthetic_pack(tmp_path_factory.mktemp("packs") / "synthetic")


@pytest.fixture(scope="session")
def synthetic_extractor(synthetic_pack_dir: Path) -> Extractor:
    """An extractor over the synthetic pack."""
    return Extractor(load_pack(synthetic_pack_dir))


@pytest.fixture(scope="session")
def dev_pack_dir(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of YuNet and EdgeFace-XS; tests that use it are marked `faces`."""
    from tests.dev_pack import make_dev_pack

    return make_dev_pack(shared_dir / "models", tmp_path_factory.mktemp("packs"))


@pytest.fixture(scope="session")
def dev_extractor(dev_pack_dir: Path) -> Extractor:
    """An extractor over the pack of YuNet and EdgeFace-XS."""
    return Extractor(load_pack(dev_pack_dir))
