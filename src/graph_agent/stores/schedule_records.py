"""What a store keeps of a schedule: the last of its times that was dealt with, and the run that began then."""

from dataclasses import dataclass


class TickTaken(Exception):
    """Another process has dealt with this time of the schedule, or with a later one."""


class EarlierRunGoesOn(Exception):
    """The earlier run of the schedule has not ended. `response` is the id of its response."""

    def __init__(self, response: str) -> None:
        super().__init__(response)
        self.response = response


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One time of a schedule, for which one run begins however many processes there are."""

    schedule: str
    """The name of the schedule. Its owner is that of the run."""

    at: float
    """In seconds since 1970."""

    alone: bool = True
    """Whether no run begins while an earlier one of the schedule goes on."""
