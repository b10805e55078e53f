"""What must be mended before a deployment, collected, so that all of it is told at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from graph_agent.errors import AgentError, DeployRefused

Note = Callable[[AgentError], None]
"""Takes a problem with which reading can go on: it raises it, or keeps it for later."""


def raise_problem(problem: AgentError) -> None:
    """The note of somebody who wants nothing that has a problem."""
    raise problem


class Problems:
    """The problems found so far, each once."""

    def __init__(self) -> None:
        self.found: list[AgentError] = []

    def note(self, problem: AgentError) -> None:
        """Keep one."""
        if problem.message not in [one.message for one in self.found]:
            self.found.append(problem)

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Keep the one that the block is left by, if any, and go on after it."""
        try:
            yield
        except AgentError as problem:
            self.note(problem)

    def refuse(self) -> None:
        """Raise what was found: a single problem as it is, several in one.

        Raises:
            AgentError: there is one.
            DeployRefused: there are several.
        """
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            listed = "\n".join(f"- {one.message}" for one in self.found)
            raise DeployRefused(f"{len(self.found)} things must be mended first:\n{listed}")
