"""graph-agent as it is installed here, packed as a wheel.

The wheel is packed from the files of the running package, whether it was installed from a checkout (editable) or from a
wheel. So it needs no checkout and no build tool, and the app gets exactly the code that was started on this machine.
"""

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Self

from graph_agent.errors import DeployRefused

PROJECT = "graph-agent"

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The modification time of every file in the wheel, so that the same files make the same wheel. It is the earliest time
that a ZIP file can store."""

DESCRIPTION = "Wheel-Version: 1.0\nGenerator: graph-agent\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel: its file name and its contents."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """How this package is installed on this machine."""

    folder: Path
    """The package's folder, `graph_agent`."""

    version: str
    from_index: bool
    """Whether it came from a package index, where an app can get it too."""

    described: Mapping[str, str]
    """The text files of its metadata, by their path in the metadata folder."""

    @classmethod
    def here(cls) -> Self:
        """Look up the installation on this machine.

        Raises:
            DeployRefused: the package runs from a folder without being installed.
        """
        try:
            found = metadata.distribution(PROJECT)
        except metadata.PackageNotFoundError:
            raise DeployRefused(
                "graph-agent runs from a folder and is not installed, so its wheel for the app cannot be built;"
                " install it first: pip install FOLDER"
            ) from None
        licenses = [f"licenses/{name}" for name in found.metadata.get_all("License-File") or ()]
        texts = {name: found.read_text(name) for name in ("METADATA", "entry_points.txt", *licenses)}
        return cls(
            folder=Path(__file__).parents[1],
            version=found.version,
            from_index=_is_from_index(found.read_text("direct_url.json")),
            described={name: text for name, text in texts.items() if text},
        )

    @property
    def has_page(self) -> bool:
        """Whether the chat page is built. An installation from an index always has it."""
        return (self.folder / "page" / "index.html").is_file()

    def packed(self) -> Wheel:
        """Build the wheel.

        The version gets a local part made from the contents, such as `0.1.0+h0123456789ab`. pip does not replace a
        package of the same version, so an app with a reused environment would keep the code of its first deployment.
        """
        files = {f"graph_agent/{path}": content for path, content in _package_files(self.folder)}
        digest = hashlib.sha256()
        for path, content in [*files.items(), *((name, text.encode()) for name, text in self.described.items())]:
            digest.update(f"{path}\0{len(content)}\0".encode())
            digest.update(content)
        version = f"{self.version}{'.' if '+' in self.version else '+'}h{digest.hexdigest()[:12]}"
        info = f"graph_agent-{version}.dist-info"
        described = {
            **self.described,
            "METADATA": _with_version(self.described["METADATA"], version),
            "WHEEL": DESCRIPTION,
        }
        files |= {f"{info}/{name}": text.encode() for name, text in described.items()}
        return Wheel(name=f"graph_agent-{version}-py3-none-any.whl", content=_zipped(files, f"{info}/RECORD"))


def _is_from_index(direct_url: str | None) -> bool:
    """By PEP 610, an installer writes `direct_url.json` for a package that came from a folder, a file or a URL."""
    return direct_url is None or not json.loads(direct_url).get("url")


def _package_files(folder: Path) -> list[tuple[str, bytes]]:
    found = [one for one in folder.rglob("*") if one.is_file() and "__pycache__" not in one.parts]
    return sorted((one.relative_to(folder).as_posix(), one.read_bytes()) for one in found)


def _with_version(text: str, version: str) -> str:
    """The metadata with another version. Its headers end at the first empty line, and the description follows."""
    head, gap, body = text.partition("\n\n")
    lines = [f"Version: {version}" if line.startswith("Version:") else line for line in head.splitlines()]
    return "\n".join(lines) + gap + body


def _zipped(files: Mapping[str, bytes], record: str) -> bytes:
    # RECORD lists every file with its hash, and itself without one.
    rows = [f"{path},sha256={_digest(content)},{len(content)}" for path, content in files.items()]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in {**files, record: "\n".join([*rows, f"{record},,", ""]).encode()}.items():
            entry = zipfile.ZipInfo(path, date_time=EARLIEST)
            # The upper 16 bits are the Unix mode. 0 would be a file that nobody may read.
            entry.external_attr = 0o100644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return written.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
