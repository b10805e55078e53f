"""Converts offsets into a text to offsets into its redacted form."""

import re

_MARKER = re.compile(r"\[redacted [A-Za-z ]{1,40}\]")


class OffsetMap:
    """Maps offsets of an original text to offsets of its redacted text."""

    def __init__(self, written: str, shown: str) -> None:
        self._kept: list[tuple[int, int, int]] = []
        """For each part that was kept: its old offset, its new offset, and its length."""
        self._length = len(shown)
        was = 0
        done = 0
        for marker in [*_MARKER.finditer(shown), None]:
            here = shown[done : marker.start() if marker else len(shown)]
            # The last part reaches to the end of the text, so it is the last occurrence that counts.
            there = written.rfind(here) if marker is None and here else written.find(here, was)
            if there < was:
                # The original text itself contains a marker, so the parts do not line up.
                there = was
            self._kept.append((there, done, len(here)))
            was = there + len(here)
            done = marker.end() if marker else len(shown)

    def start(self, place: int) -> int:
        """Return the new offset of something that starts at `place`: the marker's start if it was replaced."""
        was, now, length = max((one for one in self._kept if one[0] <= place), default=(0, 0, 0))
        return min(now + min(place - was, length), self._length)

    def end(self, place: int) -> int:
        """Return the new offset of something that ends at `place`: the marker's end if it was replaced."""
        for was, now, length in self._kept:
            if place <= was + length:
                return min(now + max(place - was, 0), self._length)
        return self._length
