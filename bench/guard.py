"""Cleans up after a benchmark has ended, even if it was killed: the pipe to this process closes in any case.

It reads process group ids from standard input, one on each line. At the end of the input it kills these groups and
removes the folder that is its argument.
"""

import os
import shutil
import signal
import sys
from contextlib import suppress


def main() -> None:
    """Wait for the end of the input, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ctrl-C reaches the whole foreground process group, and the guard must survive it.
        signal.signal(number, signal.SIG_IGN)
    groups = [int(line) for line in sys.stdin]
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
