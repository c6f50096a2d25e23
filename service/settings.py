"""Settings: one frozen object, from the environment or `.env`, prefix `ONEPERSON_`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import SettingsError

PREFIX = "ONEPERSON_"


class Settings(BaseSettings):
    """Everything an operator may choose; with none set it runs on SQLite under `var/`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="forbid", frozen=True
    )

    data_dir: Path = Field(Path("var"), description="Folder of everything that the service writes.")
    database_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy address of the database: postgresql+psycopg://… or sqlite:///…; "
        "default: oneperson.db under the data folder.",
    )
    pack: str = Field("compact", description="Name or directory of the model pack.")
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=256,
        description="Threads that decode, encode and search; default: one per processor.",
    )
    queue_limit: int = Field(
        64, ge=1, description="Portraits that may wait for a thread before new ones are refused with 503."
    )
    search_timeout_s: float = Field(
        30.0, gt=0, description="Seconds that a check may take before it is answered with an error."
    )
    gallery_backend: Literal["exact", "faiss", "milvus"] = Field(
        "faiss", description="Gallery implementation; `milvus` needs the extra of that name and a server."
    )
    milvus_uri: str = Field(
        "http://127.0.0.1:19530",
        description="Address of the Milvus server; a path ending in .db is a Milvus Lite folder, for trials.",
    )
    milvus_token: SecretStr | None = Field(
        None, description="`user:password` or API key of the Milvus server; default: none is sent."
    )
    keep_generations: int = Field(
        2, ge=1, le=20, description="Generations of each gallery kept on disk for rollback."
    )
    flagged_codes: frozenset[str] = Field(
        frozenset({"30"}), description="Level codes of persons whose identity is in doubt."
    )
    enrol_registered: bool = Field(
        False, description="Whether persons without a flag are enrolled into the gallery `registered`."
    )
    search_registered_for: Literal["flagged", "everyone"] = Field(
        "flagged", description="Whose checks also search the gallery `registered`."
    )
    target_fpir: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Share of searches by persons not in a gallery that may return a candidate.",
    )
    candidate_limit: int = Field(20, ge=1, le=200, description="Longest candidate list of one check.")
    codes_file: Path | None = Field(
        None, description="TOML file that replaces the delivered code tables (transactions, evidence …)."
    )
    notice_due_days: int = Field(15, ge=1, description="Days until an unacknowledged notice is overdue.")
    max_body_bytes: int = Field(32 * 2**20, ge=2**16, description="Largest request body accepted, in bytes.")
    public_url: str = Field(
        "http://127.0.0.1:8000", description="Address under which officers reach the pages."
    )
    language: Literal["zh-CN", "en"] = Field("zh-CN", description="Language when a caller names none.")
    session_hours: float = Field(8.0, gt=0, le=24, description="Hours until a page session ends.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level logged."
    )
    log_format: Literal["json", "text"] = Field("json", description="Form of log lines.")

    @property
    def database_address(self) -> str:
        """The database's address; holds a password, so never log it."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.data_dir.absolute() / 'oneperson.db'}"

    @property
    def portraits_dir(self) -> Path:
        """Folder of the portrait store."""
        return self.data_dir / "portraits"

    @property
    def galleries_dir(self) -> Path:
        """Folder that holds one folder of generations per gallery."""
        return self.data_dir / "galleries"

    @property
    def packs_dir(self) -> Path:
        """Folder of the packs that the operator has added."""
        return self.data_dir / "packs"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read and check the settings.

    Args:
        environment: Where unknown names are looked for; default: the process environment.

    Raises:
        SettingsError: An unknown `ONEPERSON_` name or an unusable value; the message names it.
    """
    names = os.environ if environment is None else environment
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(n for n in names if n.upper().startswith(PREFIX) and n.upper() not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}: see docs/settings.md for the names")
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"{PREFIX}{str(fault['loc'][0]).upper() if fault['loc'] else '?'}: {fault['msg']}"
            for fault in error.errors(include_input=False)
        )
        raise SettingsError(faults) from None
