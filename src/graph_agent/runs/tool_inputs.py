"""What each tool was given, by the very message it returned: calls of one id may still be told apart by it."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langchain_core.messages import ToolMessage


class ToolInputs:
    """The tools of one run."""

    def __init__(self) -> None:
        self._running: dict[UUID, Mapping[str, Any]] = {}
        self._results: dict[int, tuple[ToolMessage, Mapping[str, Any]]] = {}
        """With the message itself, so that its identity stays its own."""

    def began(self, run_id: UUID, inputs: Mapping[str, Any] | None) -> None:
        """A tool starts."""
        if inputs is not None:
            self._running[run_id] = inputs

    def ended(self, run_id: UUID, output: Any) -> None:
        """It has returned."""
        inputs = self._running.pop(run_id, None)
        if inputs is not None and isinstance(output, ToolMessage):
            self._results[id(output)] = (output, inputs)

    def of(self, result: ToolMessage) -> Mapping[str, Any] | None:
        """What the tool was given that returned this message; asked once for each."""
        _, inputs = self._results.pop(id(result), (None, None))
        return inputs
