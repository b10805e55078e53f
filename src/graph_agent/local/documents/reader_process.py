"""Documents read in another process, which a file made to do harm may use up or crash without ending the indexing.

PDF and HTML are read by libraries of many thousand lines, some of them in C. The other process has a limit on its
memory, and on its processor time for each document, so a busy machine does not make a good file a bad one.
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
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from graph_agent.local.documents.chunks import Chunk, SourceFile, chunks_of
from graph_agent.local.documents.formats import is_foreign_format
from graph_agent.local.documents.sections import EmptyDocument, UnreadableDocument

CPU_SECONDS = 180
"""Processor time for one document; a PDF of a thousand pages takes some thirty seconds."""

WALL_SECONDS = 900.0
"""Time in all for one document, on a machine that does much else."""

MEMORY_BYTES = 2 << 30
"""Memory of the reading process, address space included that it never touches."""

LONGEST_WAIT = 3600.0
"""Of one `select`, which cannot wait for ever by a number."""

LENGTH = struct.Struct("<Q")


class DocumentReader:
    """Reads documents, those of foreign formats in a process that starts with the first of them. Close it."""

    def __init__(self, *, cpu_seconds: int = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the process, where there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def chunks(self, source: SourceFile, data: bytes) -> list[Chunk]:
        """What `chunks_of` gives. Raises `UnreadableDocument`, also where reading takes too much or crashes."""
        if not is_foreign_format(source.path.name):
            return chunks_of(source, data)
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
            # Half an answer is on its way, which the next document must not be given.
            self.close()
            raise
        if isinstance(answer, tuple):
            raise (EmptyDocument if answer[0] else UnreadableDocument)(answer[1])
        return [Chunk(*fields) for fields in answer]

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.close()
            command = [sys.executable, "-m", "graph_agent.local.documents.reader_process"]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            )
        return self._process

    def _why_it_ended(self, status: int) -> str:
        match -status:
            case signal.SIGXCPU:
                return f"it takes more than {self._cpu_seconds} s of processor time to read"
            case signal.SIGKILL:
                return "it takes too long to read"
            case _:
                return "reading it crashed the process that read it"


def send_value(stream: IO[bytes], value: object) -> None:
    body = pickle.dumps(value)
    stream.write(LENGTH.pack(len(body)))
    stream.write(body)
    stream.flush()


def receive_value(stream: IO[bytes], *, until: float) -> Any:
    """The next value. Raises `EOFError` at the end and `TimeoutError` after `until`."""
    [length] = LENGTH.unpack(read_exactly(stream, LENGTH.size, until))
    # Both ends are this file, so what is unpickled is our own.
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
        chunks = chunks_of(SourceFile(Path(path), uri), data)
    except UnreadableDocument as error:
        return (isinstance(error, EmptyDocument), str(error))
    return [(chunk.chunk_id, chunk.doc_uri, chunk.title, chunk.text, chunk.position) for chunk in chunks]


def main() -> None:
    """Answer documents on the standard streams until the input ends."""
    # Ctrl-C is the parent's to handle, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit_memory()
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not get between the answers.
    os.dup2(2, 1)
    while True:
        try:
            path, uri, data, cpu_seconds = receive_value(sys.stdin.buffer, until=float("inf"))
        except EOFError:
            return
        used = resource.getrusage(resource.RUSAGE_SELF)
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + cpu_seconds + 1, most))
        send_value(answers, answer_of(path, uri, data))


def limit_memory() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, most))
    # Some systems have no such limit.
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    main()
