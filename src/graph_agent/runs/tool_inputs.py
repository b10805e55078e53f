"""The inputs of each tool call, by the message object that the tool returned. Call ids may not be unique."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from langchain_core.messages import ToolMessage


class ToolInputs:
    """The inputs of the tools of one run."""

    def __init__(self) -> None:
        self._running: dict[UUID, Mapping[str, Any]] = {}
        self._results: dict[int, tuple[ToolMessage, Mapping[str, Any]]] = {}
        """By `id()` of the message. The message is kept too, so that Python does not reuse the id."""

    def began(self, run_id: UUID, inputs: Mapping[str, Any] | None) -> None:
        """A tool starts."""
        if inputs is not None:
            self._running[run_id] = inputs

    def ended(self, run_id: UUID, output: Any) -> None:
        """The tool has returned."""
        inputs = self._running.pop(run_id, None)
        if inputs is not None and isinstance(output, ToolMessage):
            self._results[id(output)] = (output, inputs)

    def of(self, result: ToolMessage) -> Mapping[str, Any] | None:
        """The inputs of the tool that returned this message, or `None`. They are returned once and then forgotten."""
        _, inputs = self._results.pop(id(result), (None, None))
        return inputs
