"""A receiver of webhooks on loopback, which answers as a test says, and remembers what it was sent."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

SECRET, OLDER = (f"whsec_{base64.b64encode(letter * 32).decode()}" for letter in (b"a", b"b"))


@dataclass
class Message:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return orjson.loads(self.body)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """What the next requests get. Then 204."""

    messages: list[Message] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    before_answer: Callable[[], None] = lambda: None

    def take(self, message: Message) -> tuple[int, dict[str, str]]:
        with self._news:
            self.messages.append(message)
            self._news.notify_all()
            answer = self.answers.pop(0) if self.answers else (204, {})
        self.before_answer()
        return answer

    def got(self, count: int, *, seconds: float = 20.0) -> list[Message]:
        """Wait until so many requests have come."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.messages) >= count, seconds), f"{len(self.messages)} came"
            return list(self.messages)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = receiver.take(Message(self.path, headers, body))
            try:
                self.send_response(status)
                for name, value in answer.items():
                    self.send_header(name, value)
                if "content-length" not in answer:
                    self.send_header("content-length", "0")
                self.end_headers()
                if "content-length" in answer:
                    # A body that never ends.
                    while True:
                        self.wfile.write(b"x" * 65536)
                        time.sleep(0.001)
            except OSError:
                self.close_connection = True

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hooks?tenant=planted-in-the-url"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
