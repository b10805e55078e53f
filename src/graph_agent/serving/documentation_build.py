"""The documentation, as its build has left it: a manifest, and the files that the manifest lists.

Only those files are read. So nothing else can be asked for, and the path of a request never becomes the path of a file.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from graph_agent.foreign_errors import describe_error
from graph_agent.serving.built_folder import MANIFEST, BuiltFolder
from graph_agent.serving.page_headers import documentation_headers
from graph_agent.serving.static_files import KINDS, StaticFile, static_file

logger = logging.getLogger(__name__)

BUILT = Path(__file__).parents[1] / "documentation"
"""Where `make docs` leaves the site. Git ignores the folder, and a wheel that is built after it has it."""

NOT_FOUND = "404.html"

MOST_BYTES = 33_554_432
"""Bytes of all files together. The site has about four megabytes."""

MOST_FILES = 2000

_NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}/){0,8}[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")
_HASH = re.compile(r"sha256-[A-Za-z0-9+/]{43}=")


@dataclass(slots=True, kw_only=True)
class Site:
    """The documentation of one build. Its files are read when they are first asked for."""

    folder: Path
    names: frozenset[str]
    headers: Mapping[str, str]
    """The headers of every answer, with the policy for the scripts of this build."""

    _read: dict[str, StaticFile] = field(default_factory=dict)

    def kept(self, name: str) -> StaticFile | None:
        """The file with that name, if it was read before."""
        return self._read.get(name)

    def read(self, name: str) -> StaticFile | None:
        """The file with that name, or `None` if the build has none. Call it in a thread."""
        if name not in self.names:
            return None
        if name not in self._read:
            try:
                self._read[name] = static_file(name, _path(self.folder, name).read_bytes())
            except OSError as error:
                # The next build may be on its way.
                logger.error("a file of the documentation cannot be read: %s", describe_error(error))
                return None
        return self._read[name]


class DocumentationBuild(BuiltFolder[Site]):
    """The documentation in a folder."""

    def __init__(self, folder: Path = BUILT, *, reload: bool = False) -> None:
        super().__init__(folder, _read, name="the documentation", reload=reload)


def _read(folder: Path) -> Site:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    names = frozenset(one for one in manifest["files"] if _NAME.fullmatch(one) and PurePosixPath(one).suffix in KINDS)
    if len(names) > MOST_FILES or sum(_path(folder, one).stat().st_size for one in names) > MOST_BYTES:
        raise ValueError("too large")
    scripts = [one for one in manifest["scripts"] if _HASH.fullmatch(one)]
    return Site(folder=folder, names=names, headers=documentation_headers(scripts))


def _path(folder: Path, name: str) -> Path:
    path = folder / name
    # No link, which could lead out of the folder.
    if os.path.realpath(path) != os.path.join(os.path.realpath(folder), *name.split("/")) or not path.is_file():
        raise FileNotFoundError("not a file of the documentation")
    return path
