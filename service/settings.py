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
    encryption_keys: SecretStr | None = Field(
        None, description="Keys that protect what is stored: 32 bytes each in base64, separated by commas."
    )
    encryption_key_file: Path | None = Field(
        None,
        description="File with such keys, one per line; default: encryption.key under the data folder, made "
        "at the first start.",
    )
    encryption_key_command: str | None = Field(
        None, description="Command, run without a shell, that writes such keys to its standard output."
    )
    encryption_algorithm: Literal["aes-256-gcm", "sm4-gcm"] = Field(
        "aes-256-gcm", description="Cipher for what is stored from now on; what is stored stays readable."
    )
    files_url: str | None = Field(
        None,
        description="Where portraits and evidence lie, encrypted: s3://BUCKET/PREFIX, with the extra `s3`; "
        "default: folders under the data folder.",
    )
    s3_endpoint: str | None = Field(
        None, description="Address of the S3-compatible store, https://HOST:PORT; default: Amazon's."
    )
    s3_region: str | None = Field(
        None, description="Region that requests to the store are signed for; default: us-east-1."
    )
    s3_addressing: Literal["auto", "path", "virtual"] = Field(
        "auto",
        description="Whether requests name the bucket in the path or in the host name; stores of one's own "
        "often know `path` only.",
    )
    s3_ca_file: Path | None = Field(
        None,
        description="File with the certificates that vouch for the store; default: the public ones that "
        "botocore brings.",
    )
    s3_timeout_s: float = Field(
        5.0, gt=0, le=60, description="Seconds for one request to the store, its repetitions included."
    )
    s3_access_key: SecretStr | None = Field(None, description="Id of the access key to the store.")
    s3_secret_key: SecretStr | None = Field(None, description="The access key's secret part.")
    s3_key_file: Path | None = Field(
        None, description="File with both instead, one a line, the id first; only its owner may read it."
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
    queue_wait_s: float = Field(
        3.0,
        gt=0,
        description="Seconds that a check or a registration may be expected to wait for its turn, judged by "
        "the pace of the last ones; beyond it 503 before any work on it.",
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
    blind_first_look: bool = Field(
        False,
        description="Whether the case page keeps order, scores and false-alarm rates of the candidates "
        "from an officer until they say that they have looked at the portraits; the queue then shows none "
        "of open cases.",
    )
    case_due_days: float = Field(
        3.0, gt=0, le=365, description="Days after its opening from which an open case is overdue."
    )
    notice_due_days: int = Field(15, ge=1, description="Days until an unacknowledged notice is overdue.")
    webhooks_file: Path | None = Field(
        None, description="TOML file of the targets to which notices are delivered; default: none are called."
    )
    webhook_allowed: frozenset[str] = Field(
        frozenset(), description="Origins that may be called, such as `https://HOST` or `https://HOST:PORT`."
    )
    webhook_private: frozenset[str] = Field(
        frozenset(),
        description="Networks that are not public and may be called nevertheless, such as `10.20.30.0/24`.",
    )
    webhook_timeout_s: float = Field(10.0, gt=0, le=60, description="Seconds for one attempt to deliver.")
    webhook_retry_s: float = Field(
        10.0, gt=0, description="Longest pause after the first failed attempt; it doubles, up to six hours."
    )
    webhook_give_up_days: float = Field(
        5.0, gt=0, le=60, description="Days after which an undelivered notice becomes a dead letter."
    )
    letter_sender: str | None = Field(
        None,
        max_length=40,
        description="Name of the office at the head of letters; default: from the division.",
    )
    letter_number: str = Field(
        "户通〔{year}〕{sequence}号",
        max_length=40,
        description="Form of the letters' numbers; `{year}`, `{sequence}` and `{division}` are filled in.",
    )
    letter_font: Path | None = Field(
        None, description="TrueType or OpenType font of letters; default: a Chinese one found on the system."
    )
    letter_id_numbers: Literal["full", "masked"] = Field(
        "full",
        description="Whether letters show ID numbers in full, as the authority that cancels needs them.",
    )
    letter_portraits: bool = Field(
        False, description="Whether letters show the newest portrait of each registration."
    )
    max_body_bytes: int = Field(32 * 2**20, ge=2**16, description="Largest request body accepted, in bytes.")
    max_bodies_bytes: int = Field(
        256 * 2**20,
        ge=2**16,
        description="Bytes of all request bodies held at one time; beyond it requests are refused with 503.",
    )
    client_requests_per_s: float = Field(
        100.0, gt=0, description="Requests a second of one client, over ten seconds; beyond it 429."
    )
    officer_requests_per_s: float = Field(
        20.0, gt=0, description="Requests a second of one officer, over ten seconds; beyond it 429."
    )
    address_requests_per_s: float = Field(
        5.0,
        gt=0,
        description="Requests a second to sign in, or for the documents, from one network address, over ten "
        "seconds; beyond it 429.",
    )
    public_url: str = Field(
        "http://127.0.0.1:8000", description="Address under which officers reach the pages."
    )
    language: Literal["zh-CN", "en"] = Field("zh-CN", description="Language when a caller names none.")
    session_hours: float = Field(8.0, gt=0, le=24, description="Hours until a page session ends.")
    session_idle_minutes: float = Field(
        30.0, gt=0, le=1440, description="Minutes after which an unused page session ends."
    )
    second_factor: Literal["off", "optional", "required"] = Field(
        "required", description="Whether local sign-in asks for a code of an authenticator application."
    )
    setup_code_hours: float = Field(
        72.0,
        gt=0,
        le=720,
        description="Hours that the code for a first password, made by the operator, lasts.",
    )
    trusted_proxies: frozenset[str] = Field(
        frozenset(),
        description="Networks of reverse proxies, such as `10.0.0.5/32`, whose `X-Forwarded-For` tells "
        "who calls.",
    )
    client_certificate_header: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]+$",
        description="Header in which a trusted proxy names the verified client certificate's subject.",
    )
    oidc_issuer: str | None = Field(
        None, description="Issuer of the OpenID Connect provider; default: only local accounts sign in."
    )
    oidc_client_id: str = Field("", description="This installation's client id at the provider.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="This installation's secret at the provider."
    )
    oidc_name: str = Field("OIDC", max_length=40, description="Name of the provider on the sign-in page.")
    oidc_scopes: str = Field("openid profile", description="Scopes that are asked for, separated by spaces.")
    oidc_login_claim: str = Field(
        "preferred_username",
        description="Claim with the login; it must be unique and not the user's to choose.",
    )
    oidc_role_claim: str | None = Field(
        None, description="Claim with role or groups; default: roles are kept here."
    )
    oidc_roles: dict[str, Literal["officer", "supervisor", "operator", "auditor"]] = Field(
        {}, description="JSON object: the role here for each value of the role claim."
    )
    oidc_division_claim: str | None = Field(
        None, description="Claim with the division code; default: divisions are kept here."
    )
    oidc_provision: bool = Field(
        False, description="Whether accounts are made at the first sign-in; needs role and division claims."
    )
    audit_key: SecretStr | None = Field(
        None,
        description="Keys of the audit log, 64 hexadecimal digits each, the present one first, earlier "
        "ones after a "
        "comma; default: the key file.",
    )
    audit_key_file: Path | None = Field(
        None,
        description="File with the keys of the audit log, one a line, the present one first; default: "
        "audit.key "
        "under the data folder, made at the first start.",
    )
    audit_hash: Literal["sha256", "sm3"] = Field(
        "sha256",
        description="Hash of the audit log's codes: HMAC-SHA256, or HMAC-SM3 where that is required.",
    )
    audit_anchors: Path | None = Field(
        None,
        description="File that signed anchors of the audit log are appended to, best on another machine's "
        "storage; "
        "default: audit-anchors.jsonl under the data folder.",
    )
    audit_anchor_events: int = Field(1000, ge=1, description="Events after which an anchor is written.")
    audit_anchor_minutes: float = Field(
        10.0, gt=0, description="Minutes after which an anchor is written if anything was recorded."
    )
    audit_retention_days: int = Field(
        1096,
        ge=183,
        description="Days that audit events stay in the database before `oneperson audit archive` moves "
        "them; "
        "at least six months (Cybersecurity Law, article 21).",
    )
    erasures: Path | None = Field(
        None,
        description="File that a mark of each erasure is appended to, best on another machine's storage; a "
        "restoration erases again by it; default: erasures.jsonl under the data folder.",
    )
    probe_days: float = Field(
        30.0,
        ge=0,
        le=3650,
        description="Days after its case was closed that the portrait of a check is kept.",
    )
    evidence_days: float = Field(
        1826.0, ge=0, le=36500, description="Days after its case was closed that a file of evidence is kept."
    )
    draft_days: float = Field(
        7.0,
        ge=0,
        le=365,
        description="Days after a case was closed that drafts, and files that no opinion names, are kept.",
    )
    delivery_days: float = Field(
        90.0,
        ge=1,
        le=3650,
        description="Days that the record of a delivered webhook is kept; the notice stays.",
    )
    generation_hours: float = Field(
        24.0,
        gt=0,
        le=720,
        description="Hours within which templates of erased persons leave the generations on disk, too.",
    )
    backup_days: int = Field(
        30,
        ge=1,
        le=3650,
        description="Days that a backup may be kept; an older one is restored only if told so.",
    )
    audit_archive_dir: Path | None = Field(
        None,
        description="Folder into which audit events past their retention are moved by themselves; default: "
        "only `oneperson audit archive` moves them.",
    )
    month_close_day: int = Field(
        5,
        ge=0,
        le=28,
        description="Day of the next month (Beijing time) on which a month's statistics are closed by "
        "themselves; 0: never.",
    )
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
    def default_key_file(self) -> Path:
        """Where keys are when no setting tells; made at the first start."""
        return self.data_dir / "encryption.key"

    @property
    def portraits_dir(self) -> Path:
        """Folder of the portrait store."""
        return self.data_dir / "portraits"

    @property
    def evidence_dir(self) -> Path:
        """Folder of the files that officers attach as evidence."""
        return self.data_dir / "evidence"

    @property
    def erasures_file(self) -> Path:
        """File of the marks of erasures."""
        return self.erasures or self.data_dir / "erasures.jsonl"

    @property
    def exports_dir(self) -> Path:
        """Folder in which workbooks are written before they are sent."""
        return self.data_dir / "exports"

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
