"""What this machine has for language models: memory, processors, and a graphics processor.

All of it is read in public ways: from the operating system, and from `nvidia-smi` if it is on the path. What fits is an
estimate from sizes. Nothing is loaded or measured.
"""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

GB = 1024**3

GRAPHICS_SECONDS = 5.0
"""How long `nvidia-smi` may take. It takes seconds if the driver sleeps."""

BYTES_OF_PARAMETER = 0.65
"""Of a model in 4-bit form: Q4_K_M of Qwen2.5 takes 0.63 (7B) to 0.73 (1.5B)."""

BESIDE_WEIGHTS = 1.5 * GB
"""Memory for the window and the program of a model server."""

SHARE_OF_MEMORY = 0.5
"""Of the memory of a machine, for a model. The rest is for the service, its embedding model and other programs."""

SHARE_OF_GRAPHICS = 0.9
"""Of the memory of a graphics card, for a model. A part is always in use."""

SHARE_OF_APPLE = 0.66
"""Of the memory that Apple silicon shares, for its graphics processor: macOS lends it about two thirds."""

SIZES = (1.5, 3, 7, 14, 32, 70)
"""Usual sizes of open models, in billions of parameters."""

NEEDED = {"qwen-1.5b": 3 * GB, "qwen-0.5b": 2 * GB}
"""Memory of the machine for a model that graph-agent loads itself. The models were seen to take 2.0 and 0.8 GB, and the
service with the embedding model takes about 0.8 GB."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The resources of a machine, in bytes. A value of 0, and an empty name, mean that it is not known or not there."""

    memory: int
    processors: int
    graphics: str = ""
    graphics_memory: int = 0
    shares_memory: bool = False

    @property
    def largest(self) -> float:
        """The largest usual size that fits in 4-bit form, in billions of parameters. 0 if none does."""
        if self.shares_memory:
            room = self.memory * SHARE_OF_APPLE
        elif self.graphics_memory:
            room = self.graphics_memory * SHARE_OF_GRAPHICS
        else:
            room = self.memory * SHARE_OF_MEMORY
        fitting = [size for size in SIZES if size * 1e9 * BYTES_OF_PARAMETER + BESIDE_WEIGHTS <= room]
        return max(fitting, default=0)

    def __str__(self) -> str:
        parts = [
            f"{self.memory / GB:.0f} GB of memory" if self.memory else "memory not known",
            f"{self.processors} processor{'' if self.processors == 1 else 's'}",
        ]
        if self.shares_memory:
            parts.append(f"{self.graphics}, whose graphics processor shares the memory")
        elif self.graphics:
            parts.append(f"{self.graphics} with {self.graphics_memory / GB:.0f} GB")
        else:
            parts.append("no graphics processor found")
        return ", ".join(parts)


def this_machine() -> Machine:
    """The resources of this machine, as far as this process may use them."""
    memory = usable_memory()
    processors = usable_processors()
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return Machine(memory, processors, "Apple silicon", shares_memory=True)
    graphics, graphics_memory = graphics_card()
    return Machine(memory, processors, graphics, graphics_memory)


def usable_processors(limits: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """The processors that this process may use at a time. `limits` is the file with those of the container.

    A container may have a part of the time of all processors. Threads beyond its share are stopped for most of it.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        # Microseconds of processor time in each period of so many microseconds. The word `max` means no limit.
        allowed, period = limits.read_text().split()
        return max(1, min(processors, int(allowed) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return processors


def usable_memory(limits: Path = Path("/sys/fs/cgroup/memory.max")) -> int:
    """The memory of the machine or, if that is less, of the container. `limits` is the file with the container's."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        # On Windows, for example.
        return 0
    try:
        # The word `max` means that there is no limit.
        return min(memory, int(limits.read_text()))
    except (OSError, ValueError):
        return memory


def graphics_card(path: str | None = None) -> tuple[str, int]:
    """The name and the memory of the largest NVIDIA card. Empty and 0 without one. `path` is where to look for the
    program `nvidia-smi`; by default the directories of `PATH`."""
    program = shutil.which("nvidia-smi", path=path)
    if program is None:
        return "", 0
    command = [program, "--query-gpu=memory.total,name", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=GRAPHICS_SECONDS, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        # There is a program but no driver, as in many containers.
        return "", 0
    cards = []
    for line in said.splitlines():
        memory, _, name = line.partition(",")
        if memory.strip().isdecimal() and name.strip().isprintable():
            cards.append((int(memory) * 1024**2, name.strip()))
    largest, name = max(cards, default=(0, ""))
    return name, largest
