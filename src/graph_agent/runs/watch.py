"""Watches what one graph run does: whose text is public, what its models cost, and whether it may go on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from graph_agent.errors import RunCancelled
from graph_agent.protocol.events import Usage
from graph_agent.protocol.outgoing import SPEAKER
from graph_agent.runs.tool_faults import ToolFaults
from graph_agent.settings import Budgets


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

    @property
    def written(self) -> int:
        """Output tokens for the budget: where an endpoint reports nothing on the way, chunks are counted."""
        return max(self.output_tokens, self.chunks)


class RunWatch(ToolFaults):
    """One per run, passed to the graph in `config["callbacks"]`.

    It also is how a run is stopped where nothing can be cancelled, as in a synchronous node, and before its stream
    tells, as in a subgraph: the next model token, model call or tool call raises `RunCancelled` once `stop()` was
    called or a budget is spent. `spent` then names the budget.
    """

    run_inline = True
    raise_error = True

    def __init__(self, budgets: Budgets) -> None:
        super().__init__()
        self._budgets = budgets
        self._deadline = time.monotonic() + budgets.seconds
        self._stopped = False
        self._tools: set[UUID] = set()
        self._tool_calls = 0
        self._parents: dict[UUID, UUID | None] = {}
        self._runs: dict[UUID, _Spent] = {}
        self._written = 0
        self.spent: str | None = None
        self.model_error: BaseException | None = None

    def stop(self) -> None:
        """Let nothing new begin in this run."""
        self._stopped = True

    @property
    def usage(self) -> Usage:
        """Tokens so far, all model runs together."""
        runs = list(self._runs.values())
        return Usage(
            input_tokens=sum(run.input_tokens for run in runs),
            output_tokens=sum(run.output_tokens for run in runs),
            cached_tokens=sum(run.cached_tokens for run in runs),
            reasoning_tokens=sum(run.reasoning_tokens for run in runs),
        )

    # -- callbacks ----------------------------------------------------------------------------------------------

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._begin(run_id, parent_run_id)

    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._begin(run_id, parent_run_id)
        self.named(run_id, kwargs.get("name") or serialized)

    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._begin(run_id, parent_run_id)
        if not self._inside_tool(parent_run_id):
            self._tool_calls += 1
            if self._tool_calls > self._budgets.tool_calls:
                self._spend("tool_calls")
        self._tools.add(run_id)
        self.named(run_id, serialized)

    def on_llm_start(
        self, serialized: Any, prompts: list[str], *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._begin(run_id, parent_run_id)

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
        if self._written > self._budgets.output_tokens:
            self._spend("output_tokens")
        self._runs[run_id] = _Spent()
        structured = "ls_structured_output_format" in (kwargs.get("options") or {})
        if metadata is None:
            return
        # LangGraph hands this very dictionary on with each token of the run, and writes `tags` to it likewise.
        if structured or self._inside_tool(parent_run_id):
            metadata.pop(SPEAKER, None)
        else:
            metadata[SPEAKER] = str(run_id)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        self._check()
        run = self._runs.get(run_id)
        if run is None or not isinstance(chunk, ChatGenerationChunk):
            return
        message = chunk.message
        says = bool(message.content or getattr(message, "tool_call_chunks", None))
        self._note(run, message, chunks=says)
        # Not on the closing chunk: it only reports what is written already, and may be the answer's last.
        if says and self._written > self._budgets.output_tokens:
            self._spend("output_tokens")

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        run = self._runs.get(run_id)
        if run is None or run.input_tokens or run.output_tokens:
            return
        for generation in _generations(response):
            self._note(run, generation.message)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.model_error = error

    # -- what the callbacks share -------------------------------------------------------------------------------

    def _begin(self, run_id: UUID, parent_run_id: UUID | None) -> None:
        self._check()
        self._parents[run_id] = parent_run_id

    def _check(self) -> None:
        if self._stopped:
            raise RunCancelled("the run was stopped")
        if time.monotonic() > self._deadline:
            self._spend("seconds")

    def _spend(self, budget: str) -> NoReturn:
        self.spent = budget
        self._stopped = True
        raise RunCancelled(f"the run has used up its {budget}")

    def _note(self, run: _Spent, message: BaseMessage, *, chunks: int = 0) -> None:
        before = run.written
        run.chunks += chunks
        _note_usage(run, message)
        self._written += run.written - before

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
