"""The target's folder in the workspace: `files` with the sources, `before` with what they replaced, the manifest, and
`removed` with copies of files that no deployment uploaded.

The manifest is written ahead: before a file is changed, its entry is set to unknown contents. So if an upload breaks
off, the next deployment takes no file for up to date, and no file for one that no deployment uploaded.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from graph_agent.deploying.upload_manifest import Manifest

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

MOST_CONCURRENT = 8
"""Uploads and downloads at the same time."""

UPLOAD_TRIES = 4
RETRY_SECONDS = 60
"""For all tries of one file, including the pauses between them."""

Place = str
"""The name of a folder in the root folder."""


class WorkspaceFolder:
    """The folder of one target, `root`. Every method calls the workspace and raises the SDK's errors."""

    def __init__(self, client: "WorkspaceClient", *, root: str) -> None:
        self._client = client
        self._root = root
        self._manifest = f"{root}/graph-agent-manifest.json"

    def manifest(self) -> Manifest:
        """The manifest. Empty if the folder has none."""
        content = self._download(self._manifest)
        return Manifest() if content is None else Manifest.of_json(content)

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest. The root folder must exist."""
        self._upload(self._manifest, manifest.to_json())

    def make_root(self) -> None:
        """Create the root folder."""
        self._client.workspace.mkdirs(self._root)

    def listed(self) -> dict[str, int | None]:
        """Every source file that really exists, with its modification time. Empty if there is no folder."""
        from databricks.sdk.errors import NotFound
        from databricks.sdk.service.workspace import ObjectType

        folder = f"{self._root}/files/"
        try:
            found = list(self._client.workspace.list(folder.rstrip("/"), recursive=True))
        except NotFound:
            return {}
        # The workspace may return paths without the prefix `/Workspace`.
        prefix = len(folder.removeprefix("/Workspace"))
        return {
            (one.path or "").removeprefix("/Workspace")[prefix:]: one.modified_at
            for one in found
            if one.object_type is not ObjectType.DIRECTORY
        }

    def contents(self, paths: Iterable[str], *, place: Place = "files") -> dict[str, bytes]:
        """The contents of these files. Files that do not exist are left out."""
        found = self._each(lambda path: (path, self._download(self._path(place, path))), paths)
        return {path: content for path, content in found if content is not None}

    def write(
        self,
        contents: Mapping[str, bytes],
        *,
        place: Place = "files",
        done: Callable[[str], None] = lambda path: None,
    ) -> None:
        """Create the folders, then upload the files. `done` is called for each of them in the caller's thread."""
        folders = {self._path(place, path).rpartition("/")[0] for path in contents}
        # `mkdirs` also creates the parent folders.
        leaves = [one for one in folders if not any(other.startswith(f"{one}/") for other in folders)]
        self._each(self._client.workspace.mkdirs, sorted(leaves))

        def upload(path: str) -> str:
            self._upload(self._path(place, path), contents[path])
            return path

        self._each(upload, contents, then=done)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete source files. A file that does not exist is not an error."""
        self._each(lambda path: self._delete(self._path("files", path)), paths)

    def forget_before(self) -> None:
        """Delete the copies of the replaced files."""
        self._delete(f"{self._root}/before", recursive=True)

    def _path(self, place: Place, path: str) -> str:
        return f"{self._root}/{place}/{path}"

    def _delete(self, path: str, *, recursive: bool = False) -> None:
        from databricks.sdk.errors import NotFound

        try:
            self._client.workspace.delete(path, recursive=recursive or None)
        except NotFound:
            return

    def _upload(self, path: str, content: bytes) -> None:
        from databricks.sdk.retries import retried
        from databricks.sdk.service.workspace import ImportFormat

        # The SDK retries every call except uploads: it takes the fields of the form for a stream it cannot rewind.
        again = retried(
            timeout=timedelta(seconds=RETRY_SECONDS), is_retryable=_broken_connection, max_attempts=UPLOAD_TRIES
        )
        # RAW, because any other format turns a Python file that begins like a notebook into a notebook.
        again(self._client.workspace.upload)(path, content, format=ImportFormat.RAW, overwrite=True)

    def _download(self, path: str) -> bytes | None:
        from databricks.sdk.errors import NotFound
        from databricks.sdk.service.workspace import ExportFormat

        try:
            with self._client.workspace.download(path, format=ExportFormat.AUTO) as stream:
                return stream.read()
        except NotFound:
            return None

    def _each(
        self, act: Callable[[str], Any], paths: Iterable[str], *, then: Callable[[Any], None] = lambda result: None
    ) -> list[Any]:
        """Call `act` for each path, several at the same time. The first failure is raised, and no more calls start.

        `then` gets each result here and not in a thread of the pool: two threads that print mix their lines.
        """
        pool = ThreadPoolExecutor(MOST_CONCURRENT, thread_name_prefix="deploy")
        results = []
        try:
            for result in pool.map(act, paths):
                then(result)
                results.append(result)
            return results
        finally:
            # Not a `with` block, which would carry out all the other calls after a failure.
            pool.shutdown(cancel_futures=True)


def _broken_connection(error: BaseException) -> str | None:
    """The reason to retry, in the form that the SDK's `retried` expects. The SDK itself retries 429 and 503."""
    from requests import ConnectionError, Timeout
    from requests.exceptions import ChunkedEncodingError

    return "broken connection" if isinstance(error, ConnectionError | Timeout | ChunkedEncodingError) else None
