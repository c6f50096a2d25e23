"""A Milvus server: which collections are there, and which of them an alias points to."""

from collections.abc import Sequence

from pymilvus import DataType, MilvusClient

from index.errors import BackendError
from index.milvus_collection import MilvusCollection, failing_closed


class MilvusServer:
    """A connection to a server, or to a Milvus Lite folder in this process."""

    def __init__(self, uri: str, *, token: str = "", timeout_s: float = 30.0) -> None:
        """Connect.

        Args:
            uri: `http://host:19530`, or the path of a folder ending in `.db` for Milvus Lite.
            token: `user:password` or an API key; empty where the server asks for none.
            timeout_s: Seconds that one call may take.

        Raises:
            BackendError: Nobody answers, or the token is refused.
        """
        self.timeout_s = timeout_s
        with failing_closed("connect"):
            self._client = MilvusClient(uri, token=token, timeout=timeout_s)

    def create(self, name: str, *, dimension: int) -> MilvusCollection:
        """Make an empty collection, ready to be searched.

        Args:
            name: Letters, digits and underscores; not in use.
            dimension: Length d of its vectors.

        Raises:
            BackendError: It exists already, or the server failed.
        """
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("reference_id", DataType.INT64, is_primary=True)
        schema.add_field("person_key", DataType.INT64)
        schema.add_field("sex", DataType.INT16)
        schema.add_field("birth_year", DataType.INT32)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")
        with failing_closed("create a collection"):
            if self._client.has_collection(name, timeout=self.timeout_s):
                raise BackendError(f"The collection {name} exists already.")
            self._client.create_collection(
                name,
                schema=schema,
                index_params=index,
                consistency_level="Strong",
                timeout=self.timeout_s,
            )
        return MilvusCollection(self._client, name, dimension=dimension, timeout_s=self.timeout_s)

    def open(self, name: str, *, dimension: int | None) -> MilvusCollection:
        """Return a collection that is there, loaded.

        Args:
            name: Its name.
            dimension: Length d of its vectors; None: whatever it is.

        Raises:
            BackendError: It is not there, holds other vectors, or the server failed.
        """
        with failing_closed("open a collection"):
            fields = self._client.describe_collection(name, timeout=self.timeout_s)["fields"]
            (found,) = [int(field["params"]["dim"]) for field in fields if field["name"] == "vector"]
            if found != (dimension or found):
                raise BackendError(f"The collection {name} does not hold vectors of dimension {dimension}.")
            self._client.load_collection(name, timeout=self.timeout_s)
        return MilvusCollection(self._client, name, dimension=found, timeout_s=self.timeout_s)

    def names(self, prefix: str) -> list[str]:
        """List the collections whose names begin so, in order.

        Raises:
            BackendError: The server failed.
        """
        with failing_closed("list collections"):
            found = self._client.list_collections(timeout=self.timeout_s)
        return sorted(name for name in found if name.startswith(prefix))

    def drop(self, name: str) -> None:
        """Delete a collection with all its vectors; the server frees its files by itself.

        Raises:
            BackendError: The server failed, or an alias points to it.
        """
        with failing_closed("drop a collection"):
            self._client.drop_collection(name, timeout=self.timeout_s)

    def resolve(self, alias: str, *, among: Sequence[str]) -> str | None:
        """Return the collection that an alias points to, or None where there is no such alias.

        Args:
            alias: Its name.
            among: Collections that it may point to.

        Raises:
            BackendError: The server failed.
        """
        with failing_closed("resolve an alias"):
            for name in among:
                if alias in self._client.list_aliases(name, timeout=self.timeout_s)["aliases"]:
                    return name
        return None

    def point(self, alias: str, name: str, *, before: str | None) -> None:
        """Let an alias point to a collection, in one step.

        Args:
            alias: Its name.
            name: The collection.
            before: Where it points now; None creates it.

        Raises:
            BackendError: The server failed; the alias is as it was.
        """
        change = self._client.create_alias if before is None else self._client.alter_alias
        with failing_closed("switch an alias"):
            change(name, alias, timeout=self.timeout_s)

    def drop_alias(self, alias: str) -> None:
        """Delete an alias; what it pointed to stays.

        Raises:
            BackendError: The server failed.
        """
        with failing_closed("drop an alias"):
            self._client.drop_alias(alias, timeout=self.timeout_s)

    def close(self) -> None:
        """End the connection."""
        self._client.close()
