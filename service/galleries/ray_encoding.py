"""Encodes portraits on a Ray cluster: the same code on many machines, the same templates to the bit.

The only module that imports Ray. Its workers are given a pack's folder, where the portraits are
and the tasks; they must reach folders under the same paths (a shared file system), a bucket by
their own settings, and have this program installed in the same version and the operator's keys in
their settings. They
never see the database: the wrapped data keys come with the task, and the templates
come back to the caller, who stores them.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from index.errors import PackError
from index.extraction import Extractor
from index.pack import load_pack
from service.encryption.carried import CarriedKeys, carried_here
from service.encryption.folder import Folder
from service.encryption.opener import Opener
from service.errors import SettingsError
from service.file_stores import portrait_store
from service.galleries.rebuild import BATCH, EngineError, Result, Task, encode
from service.portrait_store import PortraitStore
from service.settings import load_settings

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would otherwise report its use to its maker.

import ray
import ray.data
from ray.exceptions import RayError

WINDOW = 100_000
"""Portraits per Ray Data run: what starting the workers costs is spread over these."""


class RayEngine:
    """Encodes on every processor of a cluster; see `service.galleries.rebuild.Engine`."""

    window = WINDOW

    def __init__(
        self,
        pack_dir: Path,
        *,
        contract_id: str,
        store: PortraitStore,
        address: str | None = None,
        per_call: int = 32,
    ) -> None:
        """Connect to a cluster.

        Args:
            pack_dir: The pack's folder, as the workers see it.
            contract_id: The pack that must be there.
            store: The portraits; the workers see its folder under the same path, or have its bucket in their
                own settings, and open what is in it with the keys of their own settings.
            per_call: Portraits that one worker encodes between two answers.
            address: The cluster's; by default that of RAY_ADDRESS, or else one on this machine.

        Raises:
            EngineError: No cluster answers at the address.
        """
        self._worker = {
            "pack_dir": pack_dir.absolute(),
            "contract_id": contract_id,
            "portraits": _place(store),
            "keys": store.carried_keys(),
        }
        self._per_call = per_call
        try:
            if not ray.is_initialized():
                ray.init(address=address, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise EngineError(f"No Ray cluster answers at {address or 'RAY_ADDRESS'}: {error}") from error
        self._workers = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Sequence[Result]]:
        """Spread the tasks over the cluster; results come as they are ready.

        Raises:
            EngineError: A worker could not load the pack, or the cluster is gone.
        """
        try:
            yield from self._results(tasks)
        except RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(f"Encoding on the Ray cluster stopped: {reason}") from error

    def _results(self, tasks: Sequence[Task]) -> Iterator[Sequence[Result]]:
        by_id = {task.reference_id: task for task in tasks}
        workers = min(self._workers, -(-len(tasks) // self._per_call))
        encoded = ray.data.from_items(
            [_row(task) for task in tasks], override_num_blocks=-(-len(tasks) // self._per_call)
        ).map_batches(
            Worker,
            fn_constructor_kwargs=self._worker,
            batch_size=self._per_call,
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        for batch in encoded.iter_batches(batch_size=BATCH, batch_format="numpy"):
            yield [
                Result(
                    by_id[int(reference_id)],
                    np.frombuffer(vector, dtype="<f4") if vector else None,
                    by_old_landmarks=bool(by_old_landmarks),
                    reason=str(reason),
                )
                for reference_id, vector, by_old_landmarks, reason in zip(
                    batch["reference_id"],
                    batch["vector"],
                    batch["by_old_landmarks"],
                    batch["reason"],
                    strict=True,
                )
            ]


class Worker:
    """One process of the cluster, with the pack loaded."""

    def __init__(self, pack_dir: Path, contract_id: str, portraits: Path | str, keys: CarriedKeys) -> None:
        """Load the pack.

        Args:
            pack_dir: Its folder.
            contract_id: What must be in it.
            portraits: The folder that they lie in, or the name of a bucket that this machine's settings open.
            keys: What they are encrypted with.

        Raises:
            PackError: It is missing here, damaged, or another one.
            SettingsError: The keys or the bucket that the portraits need are not in the settings here.
        """
        pack = load_pack(pack_dir)
        if pack.contract_id != contract_id:
            raise PackError(f"{pack_dir} on a worker holds another pack than on the machine that asks.")
        self._extractor = Extractor(pack)
        self._store = _store(portraits, carried_here(keys))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Encode a batch of columns as `_row` makes them."""
        results = [
            encode(
                self._extractor, self._store, Task(str(person), int(number), str(location), _points(points))
            )
            for person, number, location, points in zip(
                batch["person_id"],
                batch["reference_id"],
                batch["location"],
                batch["landmarks"],
                strict=True,
            )
        ]
        return {
            "reference_id": np.array([result.task.reference_id for result in results], dtype=np.int64),
            "vector": np.array([_bytes(result) for result in results], dtype=object),
            "by_old_landmarks": np.array([result.by_old_landmarks for result in results], dtype=np.bool_),
            "reason": np.array([result.reason for result in results], dtype=object),
        }


def _place(store: PortraitStore) -> Path | str:
    return store.directory.absolute() if isinstance(store.medium, Folder) else store.medium.name


def _store(portraits: Path | str, opener: Opener) -> PortraitStore:
    if isinstance(portraits, Path):
        return PortraitStore(portraits, opener)
    store = portrait_store(load_settings(), opener)
    if store.medium.name != portraits:
        raise SettingsError(f"ONEPERSON_FILES_URL on a worker does not open {portraits}")
    return store


def _row(task: Task) -> dict[str, Any]:
    return {
        "person_id": task.person_id,
        "reference_id": task.reference_id,
        "location": task.location,
        "landmarks": task.landmarks.astype("<f4").tobytes(),
    }


def _points(data: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(data, dtype="<f4").reshape(-1, 2)


def _bytes(result: Result) -> bytes:
    return b"" if result.vector is None else result.vector.astype("<f4").tobytes()
