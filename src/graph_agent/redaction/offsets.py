"""Where a place in a text is once its secrets were replaced."""

import re

_MARKER = re.compile(r"\[redacted [A-Za-z ]{1,40}\]")


class OffsetMap:
    """Places in what was written, as places in what was shown of it."""

    def __init__(self, written: str, shown: str) -> None:
        self._kept: list[tuple[int, int, int]] = []
        """Of each part that stayed: where it was, where it is, and its length."""
        self._length = len(shown)
        was = 0
        done = 0
        for marker in [*_MARKER.finditer(shown), None]:
            here = shown[done : marker.start() if marker else len(shown)]
            there = written.rfind(here) if marker is None and here else written.find(here, was)
            if there < was:
                # It was written so: a marker that the text itself holds.
                there = was
            self._kept.append((there, done, len(here)))
            was = there + len(here)
            done = marker.end() if marker else len(shown)

    def start(self, place: int) -> int:
        """Where what begins there begins now: at the marker, if it was replaced."""
        was, now, length = max((one for one in self._kept if one[0] <= place), default=(0, 0, 0))
        return min(now + min(place - was, length), self._length)

    def end(self, place: int) -> int:
        """Where what ends there ends now: behind the marker, if it was replaced."""
        for was, now, length in self._kept:
            if place <= was + length:
                return min(now + max(place - was, 0), self._length)
        return self._length
