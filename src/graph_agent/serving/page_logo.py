"""The logo of the chat page: a file of the operator."""

from dataclasses import dataclass
from pathlib import Path

from graph_agent.errors import BadSetting

MOST_BYTES = 262_144
"""Bytes of a logo. It is a part of every first visit."""

NAME = "GRAPH_AGENT_PAGE_LOGO"

PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Logo:
    """An image as it is sent."""

    body: bytes
    media_type: str


def read_logo(path: Path) -> Logo:
    """Read the logo.

    Raises:
        BadSetting: there is no such file, it is too large, or it is neither SVG nor PNG.
    """
    try:
        with path.open("rb") as file:
            body = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadSetting(f"{NAME} names a file that cannot be read ({type(error).__name__})", param=NAME) from None
    if len(body) > MOST_BYTES:
        raise BadSetting(f"{NAME} names a file of more than {MOST_BYTES} bytes; make the image smaller", param=NAME)
    if body.startswith(PNG):
        return Logo(body, "image/png")
    if path.suffix.lower() == ".svg" and b"<svg" in body:
        return Logo(body, "image/svg+xml")
    raise BadSetting(f"{NAME} must name an SVG or PNG file", param=NAME)
