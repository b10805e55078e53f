"""What the tools of these graphs have done, in a file, so that it outlives a process."""

import os
from pathlib import Path


def done(what: str) -> None:
    """Note a side effect."""
    with Path(os.environ["EFFECTS"]).open("a") as file:
        file.write(f"{what}\n")
