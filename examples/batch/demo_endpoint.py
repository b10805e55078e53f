"""A fake model serving endpoint that answers immediately, so that the demonstration measures everything else."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSED = "refuse this"
"""A question with these words gets status 400."""

USAGE = {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}


@contextmanager
def demo_endpoint() -> Iterator[dict[str, str]]:
    """Run the endpoint during the block. Yields the environment variables that point Databricks clients to it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {"DATABRICKS_HOST": f"http://127.0.0.1:{server.server_port}", "DATABRICKS_TOKEN": "demo"}
    finally:
        server.shutdown()


class _Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Log nothing, as the demonstration sends a thousand requests."""

    def do_GET(self) -> None:
        self._answer(404, {"error_code": "ENDPOINT_NOT_FOUND", "message": "not in this demonstration"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        question = body["messages"][-1]["content"]
        if REFUSED in question:
            self._answer(400, {"error_code": "BAD_REQUEST", "message": "refused"})
        elif body.get("stream"):
            self._stream(f"You asked: {question}")
        else:
            message = {"role": "assistant", "content": f"You asked: {question}"}
            self._answer(200, _completion(message=message, finish_reason="stop") | {"usage": USAGE})

    def _stream(self, text: str) -> None:
        chunks = [_completion(delta={"role": "assistant", "content": text}, finish_reason=None)]
        chunks.append(_completion(delta={}, finish_reason="stop") | {"usage": USAGE})
        lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        self._send(200, "text/event-stream", f"{lines}data: [DONE]\n\n".encode())

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _completion(**choice: Any) -> dict[str, Any]:
    kind = "chat.completion.chunk" if "delta" in choice else "chat.completion"
    return {"id": "demo", "object": kind, "created": 0, "model": "demo", "choices": [{"index": 0, **choice}]}
