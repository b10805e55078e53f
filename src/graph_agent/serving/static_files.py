"""Files of a built site in memory, and the answers that carry them."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from starlette.requests import Request
from starlette.responses import Response

KINDS: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
    ".yml": "application/yaml",
}
"""The suffixes of files that are served, with their media type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """One file."""

    body: bytes
    gzipped: bytes | None
    """The same compressed, if that is smaller."""

    media_type: str
    etag: str


def static_file(name: str, body: bytes) -> StaticFile:
    """The file with that name, whose suffix is one of `KINDS`, and that content."""
    gzipped = gzip.compress(body, 9, mtime=0)
    return StaticFile(
        body=body,
        gzipped=gzipped if len(gzipped) < len(body) else None,
        media_type=KINDS[PurePosixPath(name).suffix],
        # Weak, because it stands for the compressed body too.
        etag=f'W/"{hashlib.sha256(body).hexdigest()[:32]}"',
    )


def file_answer(request: Request, file: StaticFile, *, headers: Mapping[str, str], cache: str) -> Response:
    """The answer with the file: compressed if the client takes that, or 304 if the client has it."""
    headers = {**headers, "cache-control": cache, "etag": file.etag, "vary": "accept-encoding"}
    if file.etag in [one.strip() for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    if file.gzipped is not None and _takes_gzip(request.headers.get("accept-encoding", "")):
        packed = {**headers, "content-encoding": "gzip"}
        return Response(file.gzipped, media_type=file.media_type, headers=packed)
    return Response(file.body, media_type=file.media_type, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether an `Accept-Encoding` header names gzip. Source: RFC 9110, section 12.5.3."""
    for one in accepted.split(","):
        coding, _, weight = one.partition(";")
        if coding.strip().lower() in ("gzip", "*"):
            return weight.replace(" ", "").lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
