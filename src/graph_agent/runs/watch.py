"""Watches the model runs of one graph run: whose text is private, what they cost, and whether to go on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from graph_agent.errors import RunCancelled
from graph_agent.protocol.events import Usage
from graph_agent.protocol.outgoing import PRIVATE


@dataclass(slots=True)
class _Spent:
    """Tokens of one model run, the largest figure reported per kind.

    Endpoints report usage once, cumulatively on every chunk, or twice (ChatDatabricks re-emits it): adding up
    would inflate, taking the last would lose input tokens that come first.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    chunks: int = 0


class ModelWatch(BaseCallbackHandler):
    """One per run, passed to the graph in `config["callbacks"]`.

    It also is how a synchronous node is stopped: its thread cannot be cancelled, but its next model token, model
    call or tool call raises `RunCancelled` once `stop()` was called or `seconds` have passed.
    """

    run_inline = True
    raise_error = True

    def __init__(self, *, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._stopped = False
        self._tools: set[UUID] = set()
        self._parents: dict[UUID, UUID | None] = {}
        self._spent: dict[UUID, _Spent] = {}
        self.model_error: BaseException | None = None
        self.failed_node: str | None = None

    def stop(self) -> None:
        """Let nothing new begin in this run."""
        self._stopped = True

    @property
    def usage(self) -> Usage:
        """Tokens so far, all model runs together."""
        runs = list(self._spent.values())
        return Usage(
            input_tokens=sum(run.input_tokens for run in runs),
            output_tokens=sum(run.output_tokens for run in runs),
            cached_tokens=sum(run.cached_tokens for run in runs),
            reasoning_tokens=sum(run.reasoning_tokens for run in runs),
        )

    @property
    def written(self) -> int:
        """Output tokens for the budget: where an endpoint reports nothing on the way, chunks are counted."""
        return sum(max(run.output_tokens, run.chunks) for run in self._spent.values())

    # -- callbacks ----------------------------------------------------------------------------------------------

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._begin(run_id, parent_run_id)

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._begin(run_id, parent_run_id)
        self._tools.add(run_id)

    def on_chat_model_start(
        self,
        serialized: Any,
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._begin(run_id, parent_run_id)
        self._spent[run_id] = _Spent()
        structured = "ls_structured_output_format" in (kwargs.get("options") or {})
        if metadata is not None and (structured or self._inside_tool(parent_run_id)):
            # LangGraph hands this very dictionary on with each token of the run, and writes `tags` to it likewise.
            metadata[PRIVATE] = True

    def on_llm_new_token(
        self, token: Any, *, chunk: Any = None, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._check()
        spent = self._spent.get(run_id)
        if spent is not None and isinstance(chunk, ChatGenerationChunk):
            spent.chunks += 1
            _note_usage(spent, chunk.message)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        spent = self._spent.get(run_id)
        if spent is None or spent.input_tokens or spent.output_tokens:
            return
        for generation in _generations(response):
            _note_usage(spent, generation.message)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.model_error = error

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._parents.pop(run_id, None)

    # -- what the callbacks share -------------------------------------------------------------------------------

    def _begin(self, run_id: UUID, parent_run_id: UUID | None) -> None:
        self._check()
        self._parents[run_id] = parent_run_id

    def _check(self) -> None:
        if self._stopped or time.monotonic() > self._deadline:
            raise RunCancelled("the run was stopped")

    def _inside_tool(self, run_id: UUID | None) -> bool:
        while run_id is not None:
            if run_id in self._tools:
                return True
            run_id = self._parents.get(run_id)
        return False


def _generations(response: LLMResult) -> Sequence[ChatGeneration]:
    return [one for batch in response.generations for one in batch if isinstance(one, ChatGeneration)]


def _note_usage(spent: _Spent, message: BaseMessage) -> None:
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    if not usage:
        return
    spent.input_tokens = max(spent.input_tokens, usage["input_tokens"])
    spent.output_tokens = max(spent.output_tokens, usage["output_tokens"])
    spent.cached_tokens = max(spent.cached_tokens, usage.get("input_token_details", {}).get("cache_read") or 0)
    spent.reasoning_tokens = max(spent.reasoning_tokens, usage.get("output_token_details", {}).get("reasoning") or 0)
