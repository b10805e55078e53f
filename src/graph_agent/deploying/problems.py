"""Problems that must be fixed before a deployment, collected so that one error lists all of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graph_agent.errors import AgentError, DeployRefused

Note = Callable[[AgentError], None]
"""Takes a problem that does not prevent reading the rest. It raises the problem or keeps it for later."""


def raise_problem(problem: AgentError) -> None:
    """A `Note` that raises every problem."""
    raise problem


class Problems:
    """The problems found so far, without duplicates."""

    def __init__(self) -> None:
        self.found: list[AgentError] = []

    def note(self, problem: AgentError) -> None:
        """Keep a problem."""
        # The bundle is read for several purposes, so the same problem may be found more than once.
        if problem.message not in [one.message for one in self.found]:
            self.found.append(problem)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Keep the `AgentError` that the block raises, if any, and continue after the block."""
        try:
            yield
        except AgentError as problem:
            self.note(problem)

    def refuse(self) -> None:
        """Raise the problems, if any. A single one is raised as it is.

        Raises:
            AgentError: there is one problem.
            DeployRefused: there are several. The message lists them.
        """
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            listed = "\n".join(f"- {one.message}" for one in self.found)
            raise DeployRefused(f"{len(self.found)} problems must be fixed first:\n{listed}")
