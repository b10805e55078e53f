"""The times of a cron line in a time zone.

The lines are those of Debian's cron, and so is what happens when the clock is changed. A line with a fixed minute and
hour runs once a day: a time in the hour that is skipped is the first moment after it, and a time in the hour that is
repeated is the first of the two. A line whose minute or hour begins with `*` follows the time that really passes.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = 5
"""Minute, hour, day of the month, month, day of the week."""

LONGEST = 200
"""Characters of a line."""

LONGEST_CHANGE = 3 * 3600.0
"""Seconds. The clock is never put back by more."""


class BadCronLine(ValueError):
    """The line is none. The message says what is wrong with it."""


class CronLine:
    """A cron line in a time zone. Times are seconds since 1970."""

    def __init__(self, line: str, zone: ZoneInfo) -> None:
        """Read a line.

        Raises:
            BadCronLine: it is wrong, or has no time in the next 50 years.
        """
        parts = line.split()
        if len(line) > LONGEST or len(parts) != FIELDS:
            raise BadCronLine(
                "must have five fields: minute, hour, day of the month, month and day of the week, such as 0 7 * * MON"
            )
        self.line = " ".join(parts)
        self.zone = zone
        self._is_fixed = not (parts[0].startswith("*") or parts[1].startswith("*"))
        try:
            CronSim(self.line, datetime.now(UTC))
        except CronSimError as error:
            # The message is one of a few fixed texts, such as "Bad minute".
            raise BadCronLine(f"is not a cron line: {str(error).lower()}") from None
        except Exception:  # noqa: BLE001 - the library checks some mistakes with an assertion
            raise BadCronLine("is not a cron line") from None
        if self.after(datetime.now(UTC).timestamp()) is None:
            raise BadCronLine("has no time in the next 50 years")

    def after(self, moment: float) -> float | None:
        """The first time after a moment. `None` if there is none in the next 50 years."""
        return next(self.times_after(moment), None)

    def times_after(self, moment: float) -> Iterator[float]:
        """The times after a moment, in order."""
        last = moment
        for found in self._times(moment):
            # Two times of the line may be the same moment, or one of a repeated hour that has passed.
            if found > last:
                yield found
                last = found

    def latest(self, moment: float) -> float | None:
        """The last time that is not after a moment. `None` if there was none in the last 50 years."""
        # In the second half of a repeated hour, a time of the first half is later on the clock of the wall.
        start = self._at(moment + 1 + (LONGEST_CHANGE if self._is_fixed else 0))
        for found in CronSim(self.line, start, reverse=True):
            if found.timestamp() <= moment:
                return found.timestamp()
        return None

    def _times(self, moment: float) -> Iterator[float]:
        for found in CronSim(self.line, self._at(moment)):
            yield found.timestamp()

    def _at(self, moment: float) -> datetime:
        return datetime.fromtimestamp(moment, self.zone)
