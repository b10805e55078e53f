"""The files of the chat page, as its build has left them: read once, compressed, and kept in memory.

Only the files that Vite's manifest names are read. So nothing else in the folder can be asked for, and the path of a
request never becomes the path of a file.
"""

import json
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from graph_agent.serving.built_folder import MANIFEST, BuiltFolder
from graph_agent.serving.static_files import KINDS, StaticFile, static_file

BUILT = Path(__file__).parents[1] / "page"
"""Where `make page` leaves the page. Git ignores the folder, and the wheel has it."""

INDEX = "index.html"

SERVICE_HERE, SERVICE_ABOVE = b'<meta name="service" content="./"', b'<meta name="service" content="../"'
"""Where the page finds the API: beside it, or one level above it."""

MOST_BYTES = 16_777_216
"""Bytes of all files together. The page has less than one megabyte."""

_ASSET = re.compile(r"assets/[A-Za-z0-9_][A-Za-z0-9_.-]{0,150}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A whole page."""

    index: StaticFile
    assets: Mapping[str, StaticFile]
    """Its other files by name, without the folder. Each name contains a hash of the content."""


class PageBuild(BuiltFolder[Build]):
    """The page in a folder. `below` says that it is served one level below the API."""

    def __init__(self, folder: Path = BUILT, *, reload: bool = False, below: bool = False) -> None:
        super().__init__(folder, partial(_read, below=below), name="the chat page", reload=reload)


def _read(folder: Path, *, below: bool) -> Build:
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    named = sorted({one for one in _named(manifest) if _ASSET.fullmatch(one) and Path(one).suffix in KINDS})
    bodies = {one: _bytes(folder / one) for one in [INDEX, *named]}
    if sum(map(len, bodies.values())) > MOST_BYTES:
        raise ValueError("too large")
    if below:
        bodies[INDEX] = bodies[INDEX].replace(SERVICE_HERE, SERVICE_ABOVE)
    files = {one: static_file(one, body) for one, body in bodies.items()}
    index = files.pop(INDEX)
    return Build(index=index, assets={Path(one).name: file for one, file in files.items()})


def _named(manifest: Any) -> Iterator[str]:
    """The names of files in the manifest. Source: Vite, "Backend Integration"."""
    for chunk in manifest.values():
        yield chunk["file"]
        yield from chunk.get("css", ())
        yield from chunk.get("assets", ())


def _bytes(path: Path) -> bytes:
    # Not a link, which could lead out of the folder.
    details = path.lstat()
    if not stat.S_ISREG(details.st_mode) or details.st_size > MOST_BYTES:
        raise ValueError("not a file of the page")
    return path.read_bytes()
