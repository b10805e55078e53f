"""What a load test does: how many users at a time, how long, and how they behave."""

from dataclasses import dataclass

from graph_agent.load_testing.errors import LoadRefused
from graph_agent.load_testing.questions import USUAL, Question

MOST_USERS = 5_000
MOST_STEPS = 100
MOST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a load test.

    Raises:
        LoadRefused: a value is outside its limits, or there are too many steps.
    """

    users: tuple[int, ...] = (1, 2, 4, 8)
    """Users at a time, step by step."""

    seconds: float = 20.0
    """The length of a step."""

    think: float = 1.0
    """The mean seconds between an answer and the next question of a user. Each pause is from half to one and a half of
    it."""

    timeout: float = 300.0
    """The seconds after which an answer counts as failed."""

    leaving: float = 30.0
    """The seconds for the last answers after the last step."""

    questions: tuple[Question, ...] = USUAL

    def __post_init__(self) -> None:
        if not self.users or len(self.users) > MOST_STEPS:
            raise LoadRefused(f"give --users 1 to {MOST_STEPS} steps, such as 1,5,20")
        if not all(0 < one <= MOST_USERS for one in self.users):
            raise LoadRefused(f"each step of --users is a number from 1 to {MOST_USERS}")
        for name, value, least in (("seconds", self.seconds, 0.1), ("timeout", self.timeout, 1.0)):
            if not least <= value <= MOST_SECONDS:
                raise LoadRefused(f"--{name} is a number from {least:g} to {MOST_SECONDS:g}")
        if not 0 <= self.think <= 3_600:
            raise LoadRefused("--think is a number of seconds from 0 to 3600")

    @property
    def total(self) -> float:
        """The seconds of all steps."""
        return self.seconds * len(self.users)
