"""The times of cron lines, also where the clock is changed."""

from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from graph_agent.scheduling.cron_lines import BadCronLine, CronLine

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def after(line: str, moment: str, count: int) -> list[str]:
    found = islice(CronLine(line, BERLIN).times_after(at(moment)), count)
    return [datetime.fromtimestamp(one, BERLIN).isoformat(timespec="minutes") for one in found]


def latest(line: str, moment: str) -> str:
    found = CronLine(line, BERLIN).latest(at(moment))
    assert found is not None
    return datetime.fromtimestamp(found, BERLIN).isoformat(timespec="minutes")


def test_a_line_is_read_in_its_time_zone() -> None:
    assert after("0 7 * * MON-FRI", "2026-11-27T07:00", 2) == ["2026-11-30T07:00+01:00", "2026-12-01T07:00+01:00"]
    assert CronLine("0 7 * * *", ZoneInfo("UTC")).after(at("2026-07-01T07:00+00:00")) == at("2026-07-02T07:00+00:00")


def test_a_fixed_time_in_the_hour_that_is_skipped_is_the_first_moment_after_it() -> None:
    expected = ["2026-03-28T02:30+01:00", "2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]
    assert after("30 2 * * *", "2026-03-28T00:00", 3) == expected
    # Two times that are one moment are one time.
    assert after("0,30 2 * * *", "2026-03-29T00:00", 2) == ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]


def test_a_fixed_time_in_the_hour_that_is_repeated_is_the_first_of_the_two() -> None:
    assert after("30 2 * * *", "2026-10-25T00:00", 2) == ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]
    assert after("30 2 * * *", "2026-10-25T02:10+01:00", 1) == ["2026-10-26T02:30+01:00"]


def test_a_line_with_a_star_follows_the_time_that_passes() -> None:
    assert after("*/30 * * * *", "2026-03-29T01:30", 2) == ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]
    assert after("*/30 * * * *", "2026-10-25T01:30", 4) == [
        "2026-10-25T02:00+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00", "2026-10-25T02:30+01:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "moment", "expected"),
    [
        ("0 7 * * *", "2026-11-30T07:00", "2026-11-30T07:00+01:00"),
        ("0 7 * * *", "2026-11-30T06:59:59.9", "2026-11-29T07:00+01:00"),
        ("0 7 * * *", "2026-11-30T07:00:00.1", "2026-11-30T07:00+01:00"),
        # Half an hour after the change: on the wall it is earlier than the last time.
        ("30 2 * * *", "2026-10-25T02:10+01:00", "2026-10-25T02:30+02:00"),
        ("30 2 * * *", "2026-10-25T02:30+01:00", "2026-10-25T02:30+02:00"),
        ("*/30 * * * *", "2026-10-25T02:10+01:00", "2026-10-25T02:00+01:00"),
        ("*/30 * * * *", "2026-10-25T02:10+02:00", "2026-10-25T02:00+02:00"),
        ("30 2 * * *", "2026-03-29T03:00", "2026-03-29T03:00+02:00"),
        ("30 2 * * *", "2026-03-29T01:59", "2026-03-28T02:30+01:00"),
    ],
)
def test_the_latest_time_is_the_last_one_that_is_not_in_the_future(line: str, moment: str, expected: str) -> None:
    assert latest(line, moment) == expected


@pytest.mark.parametrize("line", ["30 2 * * *", "0,30 2 * * *", "*/15 * * * *", "15 1-3 * * *", "* 2 * * *"])
@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_looking_back_finds_what_looking_forward_finds(line: str, day: str) -> None:
    cron, start = CronLine(line, BERLIN), at(day)
    times = [one for one in islice(cron.times_after(start), 400) if one < start + 2 * 86_400]
    for moment in range(int(times[0]), int(start) + 2 * 86_400, 700):
        assert cron.latest(moment) == max(one for one in times if one <= moment)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("* * * *", "must have five fields"),
        ("* * * * * *", "must have five fields"),
        ("@daily", "must have five fields"),
        ("0," * 150 + "0 * * * *", "must have five fields"),
        ("60 * * * *", "is not a cron line: bad minute"),
        ("0 0 * * hunter2", "is not a cron line: bad day-of-week"),
        ("0 0 31 2 *", "is not a cron line: bad day-of-month"),
        ("* * */20 * 1L", "has no time in the next 50 years"),
    ],
)
def test_a_wrong_line_is_refused_with_the_field(line: str, words: str) -> None:
    with pytest.raises(BadCronLine) as refused:
        CronLine(line, BERLIN)
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)
