"""Documents read in a child process, so that a malicious file cannot crash or exhaust the process that indexes.

PDF and HTML are read by large libraries, partly written in C. The child has a limit on its memory and a limit on its
CPU time for each document. The main limit is CPU time and not wall time, so that a good file does not fail on a busy
machine.
"""

import os
import pickle
import resource
import select
import signal
import struct
import subprocess
import sys
import time
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from graph_agent.local.documents.chunks import Chunk, DocumentChunks, SourceFile, read_chunks
from graph_agent.local.documents.formats import is_foreign_format
from graph_agent.local.documents.sections import EmptyDocument, UnreadableDocument

CPU_SECONDS = 180
"""CPU time for one document. A PDF of a thousand pages takes about 30 seconds."""

WALL_SECONDS = 900.0
"""Wall time for one document. It only matters on a machine that is very busy."""

MEMORY_BYTES = 2 << 30
"""Limit on the child's address space, which includes memory that it reserves and never touches."""

LONGEST_WAIT = 3600.0
"""Longest wait of one `select`, which rejects an infinite timeout."""

LENGTH = struct.Struct("<Q")
"""Each message is its length in 8 bytes, then a pickle."""


class DocumentReader:
    """Reads documents. Close it after use.

    Formats that third-party libraries read are read in a child process, which starts with the first such document.
    """

    def __init__(self, *, cpu_seconds: int = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Kill the child process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def read(self, source: SourceFile, data: bytes) -> DocumentChunks:
        """Do what `read_chunks` does.

        Raises `UnreadableDocument`, also if reading exceeds a limit or crashes the child.
        """
        if not is_foreign_format(source.path.name):
            return read_chunks(source, data)
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            send_value(process.stdin, (str(source.path), source.uri, data, self._cpu_seconds))
            answer = receive_value(process.stdout, until=time.monotonic() + WALL_SECONDS)
        except (OSError, EOFError, TimeoutError) as error:
            process.kill()
            raise UnreadableDocument(self._why_it_ended(process.wait())) from error
        except BaseException:
            # For example Ctrl-C: half an answer may be in the pipe, and the next document must not receive it.
            self.close()
            raise
        match answer:
            case ("error", is_empty, message):
                raise (EmptyDocument if is_empty else UnreadableDocument)(message)
            case (_, chunks, note):
                return DocumentChunks([Chunk(*fields) for fields in chunks], note)
        raise AssertionError("the child sends nothing else")

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.close()
            command = [sys.executable, "-m", "graph_agent.local.documents.reader_process"]
            # The child must find the same packages, also those on a `sys.path` that was changed at run time.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
        return self._process

    def _why_it_ended(self, status: int) -> str:
        # `Popen` reports the signal that ended a process as a negative status.
        match -status:
            case signal.SIGXCPU:
                return f"it takes more than {self._cpu_seconds} s of CPU time to read"
            case signal.SIGKILL:
                # Our own kill, after `WALL_SECONDS`.
                return "it takes too long to read"
            case _:
                return "it crashed the process that read it"


def send_value(stream: IO[bytes], value: object) -> None:
    body = pickle.dumps(value)
    stream.write(LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def receive_value(stream: IO[bytes], *, until: float) -> Any:
    """Receive the next value. Raises `EOFError` at the end, and `TimeoutError` after the monotonic time `until`."""
    [length] = LENGTH.unpack(read_exactly(stream, LENGTH.size, until))
    # Unpickling is safe here: this module is at both ends of the pipe.
    return pickle.loads(read_exactly(stream, length, until))


def read_exactly(stream: IO[bytes], length: int, until: float) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        readable, _, _ = select.select([stream], [], [], min(max(until - time.monotonic(), 0.0), LONGEST_WAIT))
        if not readable and time.monotonic() < until:
            continue
        if not readable:
            raise TimeoutError
        part = os.read(stream.fileno(), min(length - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def answer_of(path: str, uri: str, data: bytes) -> object:
    try:
        found = read_chunks(SourceFile(Path(path), uri), data)
    except UnreadableDocument as error:
        return ("error", isinstance(error, EmptyDocument), str(error))
    return ("chunks", [astuple(chunk) for chunk in found.chunks], found.note)


def main() -> None:
    """Answer the documents on standard input until it ends."""
    # A terminal sends Ctrl-C to both processes. The parent handles it and then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # No core dumps: a crash is expected here, and a dump would hold the user's document.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    # Libraries may print to standard output. That must not get between the answers.
    os.dup2(2, 1)
    while True:
        try:
            path, uri, data, cpu_seconds = receive_value(sys.stdin.buffer, until=float("inf"))
        except EOFError:
            return
        # The limit counts the CPU time of the whole process, so it moves up with each document.
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_seconds + 1, most))
        send_value(answers, answer_of(path, uri, data))


def limit_memory() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, most))
    # Some systems do not support this limit; there the CPU limit remains.
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    main()
