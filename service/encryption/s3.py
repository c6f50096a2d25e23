"""Keeps sealed bytes in an S3-compatible store: the only module that imports s3fs.

Every request ends within the time that the settings allow, its repetitions included. Nothing of a request,
neither keys nor addresses, gets into a message.
"""

import base64
import errno
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import aiohttp
import s3fs
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync

from service.encryption.medium import Change
from service.encryption.objects import PROBE, Objects

ATTEMPTS = 3
"""Times that a request is sent when the connection broke or the store asked to come back later."""

CONNECT_S = 3.0
"""Longest time to a connection: a store in the same network answers within milliseconds."""

CONNECTIONS = 32
"""Connections to the store at once; twice the threads of the longest runs."""

REPLACEMENTS = 3
"""Times that an object is replaced anew because somebody else replaced it meanwhile."""

KEEP_NOTHING = "have versioning and object lock switched off, or take another bucket"


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where a bucket is, and how it is asked.

    Attributes:
        bucket: Its name.
        prefix: What the names of all objects begin with, without slashes around; may be empty.
        endpoint: The store's address; None for Amazon's.
        region: What requests are signed for; None for the store's own default.
        addressing: How the bucket is named in requests: `auto`, `path` or `virtual`.
        ca_file: Certificates that vouch for the store; None for the public ones that botocore brings.
        timeout_s: Seconds for one request, repetitions included.
        key: The access key's id.
        secret: The access key.
    """

    bucket: str
    prefix: str
    endpoint: str | None
    region: str | None
    addressing: str
    ca_file: Path | None
    timeout_s: float
    key: str
    secret: str

    def __repr__(self) -> str:
        """Name the bucket only; the rest is partly secret."""
        return f"S3Place({self.bucket!r}, {self.prefix!r})"


class S3Objects(Objects):
    """Objects of one bucket under one prefix."""

    def __init__(self, place: S3Place, folder: str, *, process: int) -> None:
        """Use a folder below the place's prefix.

        Args:
            place: The bucket.
            folder: Name of a part of it.
            process: Id of this process: connections do not outlive a fork.
        """
        key = "/".join(part for part in (place.prefix, folder) if part)
        super().__init__(
            _file_system(place, process), f"{place.bucket}/{key}", name=f"s3://{place.bucket}/{key}"
        )
        self._bucket = place.bucket
        self._key = key
        self._timeout_s = place.timeout_s
        self._knows_conditions: bool | None = None

    def keeps_erased(self) -> tuple[str, str]:
        """Look for versions and locks, which keep what is deleted."""
        try:
            versions = str(self._ask("get_bucket_versioning").get("Status", ""))
            lock = self._object_lock()
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.ENOSYS, errno.EPERM}:
                raise
            return "whether the bucket keeps versions of erased files cannot be seen with this access key", ""
        if lock:
            return "the bucket has object lock", KEEP_NOTHING
        if versions == "Enabled":
            return "the bucket keeps versions", KEEP_NOTHING
        if versions:
            return "versioning was on once: what was erased then may still be there", ""
        return "", ""

    def read_head(self, location: str, size: int) -> bytes:
        """Return at most the first bytes of an object."""
        data: bytes = self._run(self._files._cat_file, self._path(location), start=0, end=size)
        return data

    def replace(self, location: str, change: Change) -> bool:
        """Replace an object, if it is still the one that was read where the store can tell."""
        if not self._conditions():
            return super().replace(location, change)
        for _attempt in range(REPLACEMENTS):
            try:
                data, tag = self._run(self._tagged, location)
            except FileNotFoundError:
                self._require_mark()
                return False
            try:
                self._send(location, change(data), IfMatch=tag)
            except FileNotFoundError:
                continue  # Removed meanwhile, or the bucket is gone: looking again tells.
            except OSError as error:
                if not _is_refused_condition(error):
                    raise
                continue
            return True
        raise OSError(errno.EBUSY, "others replace the same object again and again")

    def _conditions(self) -> bool:
        """Find out whether the store heeds If-Match: it must refuse what names another object."""
        if self._knows_conditions is None:
            self.write(PROBE, b"\0")
            try:
                self._send(PROBE, b"\0", IfMatch=f'"{"0" * 32}"')
                self._knows_conditions = False
            except OSError as error:
                known = _is_refused_condition(error)
                if not known and error.errno != errno.ENOSYS:
                    raise
                self._knows_conditions = known
        return self._knows_conditions

    async def _tagged(self, location: str) -> tuple[bytes, str]:
        answer = await self._files._call_s3("get_object", Bucket=self._bucket, Key=self._named(location))
        async with answer["Body"] as body:
            return await body.read(), str(answer["ETag"])

    def _put(self, name: str, data: bytes) -> None:
        self._send(name, data)

    def _send(self, name: str, data: bytes, **conditions: str) -> None:
        """Store an object whose bytes the store compares with their digest before it acknowledges them."""
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        self._ask("put_object", Key=self._named(name), Body=data, ContentMD5=digest, **conditions)

    def _get(self, name: str) -> bytes:
        data: bytes = self._run(self._files._cat_file, self._path(name))
        return data

    def _delete(self, name: str) -> None:
        self._ask("delete_object", Key=self._named(name))

    def _changed_at(self, name: str) -> float | None:
        try:
            return float(self._ask("head_object", Key=self._named(name))["LastModified"].timestamp())
        except FileNotFoundError:
            return None

    def _list(self, folder: str) -> list[str]:
        """Return the names in a folder; pages of a thousand, each within the time for a request."""
        found: list[str] = []
        start = f"{self._named(folder)}/" if folder else f"{self._key}/"
        more: dict[str, str] = {}
        while True:
            try:
                page = self._ask("list_objects_v2", Prefix=start, Delimiter="/", **more)
            except FileNotFoundError:
                return []  # There is no bucket.
            found += [entry["Key"][len(start) :] for entry in page.get("Contents", [])]
            found += [entry["Prefix"][len(start) : -1] for entry in page.get("CommonPrefixes", [])]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _object_lock(self) -> bool:
        try:
            answer = self._ask("get_object_lock_configuration")
        except OSError as error:
            cause = error.__cause__
            code = cause.response.get("Error", {}).get("Code") if isinstance(cause, ClientError) else ""
            if code in {"ObjectLockConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed"}:
                return False
            raise
        return bool(answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled")

    def _named(self, name: str) -> str:
        return f"{self._key}/{name}"

    def _ask(self, request: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._run(self._files._call_s3, request, Bucket=self._bucket, **arguments)
        return answer

    def _run(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        with _told(self._timeout_s):
            return sync(self._files.loop, work, *arguments, timeout=self._timeout_s, **named)


@contextmanager
def _told(timeout_s: float) -> Iterator[None]:
    """Say of every failure what can be said without names; what was raised stays the cause's cause.

    Raises:
        OSError: See `service.encryption.medium.Medium`.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such object or bucket") from error.__cause__
    except PermissionError as error:
        told = "the store refuses the access key, or what it asks for"
        raise PermissionError(errno.EACCES, told) from error.__cause__
    except TimeoutError:
        raise TimeoutError(errno.ETIMEDOUT, f"the store gave no answer within {timeout_s:g} s") from None
    except OSError as error:
        code = error.errno or errno.EIO
        raise OSError(code, f"the store refused it{_code(error)}") from error.__cause__
    except (BotoCoreError, aiohttp.ClientError) as error:
        raise OSError(errno.EIO, f"the store cannot be reached ({type(error).__name__})") from None


def _code(error: OSError) -> str:
    cause = error.__cause__
    return f" ({cause.response.get('Error', {}).get('Code')})" if isinstance(cause, ClientError) else ""


def _is_refused_condition(error: OSError) -> bool:
    """Tell whether the object was not the one that a condition named, or was being changed (409)."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return False
    return cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in {409, 412}


@lru_cache(maxsize=4)
def _file_system(place: S3Place, process: int) -> Any:  # noqa: ARG001 - another process, other connections
    """Make the connections to a bucket once for each process."""
    system = s3fs.S3FileSystem(
        key=place.key,
        secret=place.secret,
        token=None,  # Said, like the next, so that no configuration of other programs says otherwise.
        anon=False,
        endpoint_url=place.endpoint,
        client_kwargs={"region_name": place.region, "verify": str(place.ca_file) if place.ca_file else None},
        config_kwargs={
            "connect_timeout": min(CONNECT_S, place.timeout_s),
            "read_timeout": place.timeout_s,
            "max_pool_connections": CONNECTIONS,
            "retries": {"total_max_attempts": 1},  # Those of s3fs do; two kinds would multiply.
            "s3": {"addressing_style": place.addressing},
            # Other stores than Amazon's often refuse its checksums; Content-MD5 all of them know.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
        use_listings_cache=False,
        skip_instance_cache=True,
        max_concurrency=1,  # An object is read in one request.
    )
    system.retries = ATTEMPTS
    return system
