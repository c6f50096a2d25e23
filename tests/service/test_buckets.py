"""What is special about a bucket: versions, races, stores that do not answer, and settings that are wrong."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import SecretStr

from service.database import Database
from service.encryption.objects import PROBE, Objects
from service.encryption.vault import vault_of
from service.errors import SettingsError, StorageUnavailableError
from service.file_stores import evidence_store, portrait_store, require_place
from service.portrait_store import PortraitStore
from service.settings import Settings
from tests.s3 import SECRET, BucketSettings, bucket_of
from tests.service.conftest import SQLITE_ONLY

pytestmark = [SQLITE_ONLY, pytest.mark.filterwarnings("ignore::ResourceWarning")]

PICTURE = b"a picture"

S3 = pytest.mark.s3


def opened(settings: Settings, database: Database) -> PortraitStore:
    return portrait_store(settings, vault_of(database.info))


def put(store: PortraitStore) -> str:
    return store.put(PICTURE, owner="person:P1")


class Counting(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no annotations
    """Counts writes, and refuses them when told to be full."""

    cachable = False

    def __init__(self) -> None:
        super().__init__(global_store=False)
        self.writes: list[str] = []
        self.is_full = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **others: Any) -> None:
        if self.is_full:
            raise OSError(28, "no space is left")
        self.writes.append(path.rsplit("/", 1)[1])
        super().pipe_file(path, value, mode, **others)


def test_readiness_writes_once_a_minute_and_a_failed_file_ends_what_is_taken_for_proof(
    database: Database,
) -> None:
    files = Counting()
    store = PortraitStore(Objects(files, "/b", name="b"), vault_of(database.info))
    for _ in range(5):
        store.check_writable()
    assert files.writes == [".store", PROBE]
    files.is_full = True
    store.check_writable()
    with pytest.raises(StorageUnavailableError, match="nothing was changed"):
        put(store)
    with pytest.raises(StorageUnavailableError, match="No file can be stored"):
        store.check_writable()
    files.is_full = False
    store.check_writable()


@S3
def test_nothing_leaves_unencrypted_and_evidence_lies_apart(
    settings: Settings, database: Database, in_bucket: BucketSettings, s3_client: Any
) -> None:
    chosen = in_bucket(settings)
    mine = put(opened(chosen, database))
    evidence_store(chosen, vault_of(database.info)).put(PICTURE, owner="attachment:1")
    listed = s3_client.list_objects_v2(Bucket=bucket_of(chosen))["Contents"]
    names = {entry["Key"] for entry in listed}
    assert f"province/portraits/{mine}" in names
    assert sum(name.startswith("province/evidence/") for name in names) == 2  # The file and the mark.
    for name in names:
        assert PICTURE not in s3_client.get_object(Bucket=bucket_of(chosen), Key=name)["Body"].read()


@S3
@pytest.mark.parametrize("keeps", ["versions", "lock"])
def test_a_bucket_that_keeps_what_is_erased_is_refused(
    settings: Settings, database: Database, in_bucket: BucketSettings, s3_client: Any, keeps: str
) -> None:
    name = f"keeps-{keeps}"
    s3_client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=keeps == "lock")
    versioning = {"Status": "Enabled"}
    if keeps == "versions":
        s3_client.put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)
    store = opened(in_bucket(settings, name), database)
    for attempt in (store.check_writable, lambda: put(store)):
        with pytest.raises(StorageUnavailableError, match="what is erased would stay"):
            attempt()
    assert "Contents" not in s3_client.list_objects_v2(Bucket=name)


@S3
def test_more_files_than_a_page_are_listed(
    settings: Settings, database: Database, in_bucket: BucketSettings, s3_client: Any
) -> None:
    chosen = in_bucket(settings)
    store = opened(chosen, database)
    wanted = {f"ab/{number:032x}.sealed" for number in range(1005)} | {put(store)}
    for location in wanted:
        if location.startswith("ab/0"):
            s3_client.put_object(Bucket=bucket_of(chosen), Key=f"province/portraits/{location}", Body=b"x")
    assert store.locations() == wanted


@S3
@pytest.mark.parametrize("knows", [True, False], ids=["conditions", "none"])
def test_an_object_replaced_or_removed_while_it_is_sealed_anew(
    settings: Settings,
    database: Database,
    in_bucket: BucketSettings,
    monkeypatch: pytest.MonkeyPatch,
    knows: bool,
) -> None:
    store = opened(in_bucket(settings), database)
    location = put(store)
    medium: Any = store.medium
    assert medium._conditions() is True
    medium._knows_conditions = knows
    vault, between = vault_of(database.info), list[Callable[[], None]]()
    real = vault.seal

    def sealing(purpose: str, row: str, plain: bytes) -> bytes:
        while between:
            between.pop()()
        return real(purpose, row, plain)

    monkeypatch.setattr(vault, "seal", sealing)
    between.append(lambda: medium.put_in_place(location, medium.read(location)))
    assert store.reseal(location, owner="person:P1")
    assert store.get(location, owner="person:P1") == PICTURE
    between.append(lambda: store.delete(location))
    came_back = store.reseal(location, owner="person:P1")
    assert came_back is not knows  # Without conditions the caller holds the record, so nobody deletes.


@S3
def test_a_store_that_does_not_answer_is_an_error_within_its_time(
    settings: Settings, database: Database, in_bucket: BucketSettings
) -> None:
    chosen = in_bucket(settings)
    location = put(opened(chosen, database))
    for fault in (
        {"s3_endpoint": "http://127.0.0.1:9"},
        {"files_url": "s3://there-is-no-such-bucket/province"},
    ):
        away = opened(chosen.model_copy(update={"s3_timeout_s": 1.0} | fault), database)
        for attempt in (
            away.check_writable,
            away.require_present,
            lambda away=away: put(away),
            lambda away=away: away.delete(location),
            lambda away=away: away.exists(location),
            lambda away=away: away.get(location, owner="person:P1"),
        ):
            with pytest.raises(StorageUnavailableError) as told:
                attempt()
            assert SECRET not in told.value.detail
            assert location not in told.value.detail


@S3
def test_a_store_that_takes_connections_and_says_nothing_is_given_up(
    settings: Settings, database: Database, in_bucket: BucketSettings
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        chosen = in_bucket(settings, "any", s3_endpoint=address, s3_timeout_s=0.5)
        store = opened(chosen, database)
        with pytest.raises(StorageUnavailableError, match=r"no answer within 0\.5 s"):
            store.check_writable()


@S3
def test_files_that_many_threads_ask_for_at_once(
    settings: Settings, database: Database, in_bucket: BucketSettings
) -> None:
    store = opened(in_bucket(settings), database)
    locations = [put(store) for _ in range(8)]
    found: list[bytes] = []

    def read() -> None:
        found.extend(store.get(location, owner="person:P1") for location in locations)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert found == [PICTURE] * 32


@pytest.mark.parametrize(
    ("faults", "named"),
    [
        ({"files_url": "/srv/portraits"}, "ONEPERSON_FILES_URL: must be s3://BUCKET/PREFIX"),
        ({"files_url": "s3://UPPER/x"}, "ONEPERSON_FILES_URL: must be"),
        ({"files_url": "s3://bucket/a b"}, "ONEPERSON_FILES_URL: must be"),
        ({"files_url": "http://bucket"}, "ONEPERSON_FILES_URL: must be"),
    ],
)
def test_addresses_that_are_none_are_refused(settings: Settings, faults: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        require_place(settings.model_copy(update=faults))


def test_the_missing_extra_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.file_stores.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"pip install '\.\[s3\]'"):
        require_place(settings.model_copy(update={"files_url": "s3://bucket/x"}))


@S3
def test_settings_that_cannot_be_used_are_named(
    settings: Settings, in_bucket: BucketSettings, tmp_path: Path
) -> None:
    chosen = in_bucket(settings)
    open_file, long_file, key_file = (tmp_path / name for name in ("open", "long", "key"))
    for path, text, mode in (
        (open_file, "a\nb\n", 0o644),
        (long_file, "a\nb\nc\n", 0o600),
        (key_file, "a\nb", 0o600),
    ):
        path.write_text(text)
        path.chmod(mode)
    none = {"s3_access_key": None, "s3_secret_key": None}
    for faults, named in (
        ({"s3_endpoint": "127.0.0.1:9000"}, "ONEPERSON_S3_ENDPOINT"),
        ({"s3_endpoint": "https://user:secret@host"}, "ONEPERSON_S3_ENDPOINT"),
        ({"s3_ca_file": tmp_path / "none.pem"}, "ONEPERSON_S3_CA_FILE"),
        (none, "ONEPERSON_S3_ACCESS_KEY and ONEPERSON_S3_SECRET_KEY"),
        ({"s3_secret_key": None}, "needs an access key"),
        ({"s3_key_file": key_file}, "and nothing besides"),
        (none | {"s3_key_file": open_file}, "chmod 600"),
        (none | {"s3_key_file": long_file}, "two lines"),
        (none | {"s3_key_file": tmp_path / "none"}, "cannot be read"),
    ):
        with pytest.raises(SettingsError, match=named):
            require_place(chosen.model_copy(update=faults))
    require_place(chosen.model_copy(update=none | {"s3_key_file": key_file}))
    assert SecretStr("test-secret").get_secret_value() not in repr(chosen)
