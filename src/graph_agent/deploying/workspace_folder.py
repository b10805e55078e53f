"""The target's folder in the workspace: `files` with the sources, `before` with what they replaced, the manifest, and
`removed` with copies of what was no deployment's.

The manifest is written ahead: before a file is touched, its entry says nothing of its contents. So an upload that
breaks off leaves no file the next deploy takes for up to date, or for somebody else's.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from graph_agent.deploying.upload_manifest import Manifest

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

AT_ONCE = 8
"""Uploads and downloads under way at a time."""

UPLOAD_TRIES = 4
RETRY_SECONDS = 60
"""For one file, its waits included."""

Place = str
"""A folder below the root."""


class WorkspaceFolder:
    """The folder of one target, `root`. Every method calls the workspace and raises the SDK's errors."""

    def __init__(self, client: "WorkspaceClient", *, root: str) -> None:
        self._client = client
        self._root = root
        self._manifest = f"{root}/graph-agent-manifest.json"

    def manifest(self) -> Manifest:
        """The manifest; an empty one if there is none."""
        content = self._download(self._manifest)
        return Manifest() if content is None else Manifest.of_json(content)

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest; its folder must be there."""
        self._upload(self._manifest, manifest.to_json())

    def make_root(self) -> None:
        """Make the folder."""
        self._client.workspace.mkdirs(self._root)

    def listed(self) -> dict[str, int | None]:
        """Every source file that is really there, and when it was changed; none if there is no folder."""
        from databricks.sdk.errors import NotFound
        from databricks.sdk.service.workspace import ObjectType

        folder = f"{self._root}/files/"
        try:
            found = list(self._client.workspace.list(folder.rstrip("/"), recursive=True))
        except NotFound:
            return {}
        # The workspace may leave `/Workspace` out of the paths it answers with.
        prefix = len(folder.removeprefix("/Workspace"))
        return {
            (one.path or "").removeprefix("/Workspace")[prefix:]: one.modified_at
            for one in found
            if one.object_type is not ObjectType.DIRECTORY
        }

    def contents(self, paths: Iterable[str], *, place: Place = "files") -> dict[str, bytes]:
        """The files' contents; those that are not there are left out."""
        found = self._each(lambda path: (path, self._download(self._path(place, path))), paths)
        return {path: content for path, content in found if content is not None}

    def write(
        self,
        contents: Mapping[str, bytes],
        *,
        place: Place = "files",
        done: Callable[[str], None] = lambda path: None,
    ) -> None:
        """Upload files, and make their folders first. `done` is told of each, from whichever thread it was."""
        folders = {self._path(place, path).rpartition("/")[0] for path in contents}
        # Making a folder makes those above it.
        leaves = [one for one in folders if not any(other.startswith(f"{one}/") for other in folders)]
        self._each(self._client.workspace.mkdirs, sorted(leaves))

        def upload(path: str) -> None:
            self._upload(self._path(place, path), contents[path])
            done(path)

        self._each(upload, contents)

    def delete(self, paths: Iterable[str]) -> None:
        """Delete source files; one that is gone already is no error."""
        self._each(lambda path: self._delete(self._path("files", path)), paths)

    def forget_before(self) -> None:
        """Delete what was kept aside."""
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

        # The SDK retries every call but uploads, for it takes a form's fields for a stream it cannot rewind.
        again = retried(
            timeout=timedelta(seconds=RETRY_SECONDS), is_retryable=_broken_connection, max_attempts=UPLOAD_TRIES
        )
        # RAW: any other format turns a Python file with a notebook's first line into a notebook.
        again(self._client.workspace.upload)(path, content, format=ImportFormat.RAW, overwrite=True)

    def _download(self, path: str) -> bytes | None:
        from databricks.sdk.errors import NotFound
        from databricks.sdk.service.workspace import ExportFormat

        try:
            with self._client.workspace.download(path, format=ExportFormat.AUTO) as stream:
                return stream.read()
        except NotFound:
            return None

    def _each(self, act: Callable[[str], Any], paths: Iterable[str]) -> list[Any]:
        """`act` on each path, a few at a time; the first failure is raised, and nothing more is begun after it."""
        pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="deploy")
        try:
            return list(pool.map(act, paths))
        finally:
            pool.shutdown(cancel_futures=True)


def _broken_connection(error: BaseException) -> str | None:
    """Why to try again, as the SDK's retries ask; 429 and 503 are retried in any case."""
    from requests import ConnectionError, Timeout
    from requests.exceptions import ChunkedEncodingError

    return "broken connection" if isinstance(error, ConnectionError | Timeout | ChunkedEncodingError) else None
