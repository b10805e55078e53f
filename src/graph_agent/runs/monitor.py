"""The callback that follows one run: which text is public, how many tokens its models use, whether it may continue."""

import itertools
import math
import time
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any, NoReturn
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult

from graph_agent.answer_form import IN_FORM
from graph_agent.client_tools import NO_TOOLS, ClientTools
from graph_agent.errors import AgentError, ModelFailed, RunCancelled
from graph_agent.found_documents import NO_SPAN
from graph_agent.known_messages import NONE_KNOWN, KnownMessages
from graph_agent.protocol.events import Usage
from graph_agent.protocol.finish_reasons import EarlyEnd, early_end_of
from graph_agent.protocol.translator import SPEAKER
from graph_agent.runs.audience import Audience, Namespace, wants_schema
from graph_agent.runs.call_times import CallTimes
from graph_agent.runs.invalid_calls import InvalidCalls
from graph_agent.runs.nested_calls import NestedCalls
from graph_agent.runs.run_spending import RunSpending
from graph_agent.runs.tool_failures import ToolFailureLog
from graph_agent.runs.tool_inputs import ToolInputs
from graph_agent.runs.usage_meter import UsageMeter
from graph_agent.settings import Budgets
from graph_agent.tool_call_policy import NotRun, ToolCallPolicy

CALLS, WRITTEN = "tool_calls", "written"
TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
"""What a checkpoint notes of a run, besides its steps."""

PATIENCE = 3
"""How often a model may call tools after it was told that no calls are left. Then the run is ended."""


class RunMonitor(ToolFailureLog, ToolCallPolicy):
    """The monitor of one run. It is passed to the graph in `config["callbacks"]`.

    It also stops a run where nothing can be cancelled, such as in a synchronous node, and before the stream shows
    anything, such as in a subgraph. After `stop()` or when a budget is used up, the next model token, model call or
    tool call raises `RunCancelled`. Then `spent` names the budget, or `cut_off` says why a model was cut off during its
    tool calls. A tool call beyond the budget or with broken arguments raises `NotRun`, and agents return that to the
    model.
    """

    # Otherwise each run would have a dictionary of 1.6 KB: Python shares the names of at most 30 attributes.
    __slots__ = (
        "_audience",
        "_budgets",
        "_called",
        "_calls",
        "_client",
        "_deadline",
        "_heard",
        "_history",
        "_inputs",
        "_invalid",
        "_known",
        "_meter",
        "_nested",
        "_spending",
        "_stopped",
        "_structured",
        "_turns_without_calls",
        "cut_off",
        "model_error",
        "out_of_calls",
        "refusal",
        "spent",
        "spoken",
        "times",
        "told",
    )

    # Inline and not in an executor's thread: `NestedCalls` sets a context variable that later code must see.
    run_inline = True
    # LangChain swallows the exceptions of callbacks without this.
    raise_error = True

    def __init__(
        self, budgets: Budgets, *, client: ClientTools = NO_TOOLS, spending: RunSpending | None = None
    ) -> None:
        super().__init__()
        self._spending = spending
        self._client = client
        self._budgets = budgets
        self._deadline = math.inf
        self._stopped = False
        self._audience = Audience()
        self._meter = UsageMeter()
        self.times = CallTimes()
        self._invalid = InvalidCalls()
        # A counter and not an integer: `next` is atomic, and tools run in several threads.
        self._calls = itertools.count(1)
        self._called = 0
        self.out_of_calls = False
        """Whether a call was not run because the budget was used up."""
        self._turns_without_calls = 0
        self._nested = NestedCalls(self._meter)
        self._inputs = ToolInputs()
        self._structured: set[UUID] = set()
        self._heard: set[UUID] = set()
        self._history: Sequence[BaseMessage] = ()
        self._known = NONE_KNOWN
        self.spoken: list[str] = []
        """The ids of the messages that were streamed to the caller and are complete."""
        self.spent: str | None = None
        self.refusal: AgentError | None = None
        """Why a model call did not begin: a limit for people, or the store that counts for it does not answer."""
        self.cut_off: EarlyEnd | None = None
        self.model_error: BaseException | None = None
        self.told: Sequence[Any] = ()
        """Callbacks that are called by this one, and not by LangChain."""

    def start_clock(self, seconds: float) -> None:
        """The run starts and may take this long."""
        self._deadline = time.monotonic() + seconds

    def stop(self) -> None:
        """Let no new step, model call or tool call begin."""
        self._stopped = True

    @property
    def used(self) -> Mapping[str, int]:
        """What counts against the budgets so far, for a checkpoint. `goes_on` reads it."""
        usage = self.usage
        noted = {name: getattr(usage, name) for name in TOKENS}
        return {CALLS: self._called, WRITTEN: self._meter.written, **noted}

    def goes_on(self, used: Mapping[str, int]) -> None:
        """Count on from what an earlier attempt at the run had used by its last checkpoint. Call it before the run."""
        self._called = used.get(CALLS, 0)
        self._calls = itertools.count(self._called + 1)
        self._meter.goes_on(Usage(**{name: used.get(name, 0) for name in TOKENS}), written=used.get(WRITTEN, 0))

    @property
    def usage(self) -> Usage:
        """The tokens so far, of all model calls together."""
        return self._meter.usage

    def hears(self, ns: Namespace) -> bool:
        """Whether the caller may see what the nodes of the graph with this namespace return."""
        return self._audience.hears(ns)

    def is_private(self, run_id: UUID | None) -> bool:
        """Whether the caller may see nothing of what runs below this LangChain run."""
        return self._audience.is_private(run_id)

    def inputs_of(self, result: ToolMessage) -> Mapping[str, Any] | None:
        """The inputs of the tool that returned this message object, or `None`."""
        return self._inputs.of(result)

    # -- callbacks: steps and tools -----------------------------------------------------------------------------

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._check()
        self._audience.node_began(run_id, parent_run_id, metadata, kwargs.get("name"))

    def on_retriever_start(
        self,
        serialized: Any,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._check()
        self._audience.began(run_id, parent_run_id)
        self.named(run_id, kwargs.get("name") or serialized)
        # The node that calls one with this mark tells how long it took.
        if NO_SPAN not in (metadata or {}):
            self.times.search_began(run_id, parent_run_id)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.times.search_ended(run_id)
        super().on_retriever_end(documents, run_id=run_id, **kwargs)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.times.search_ended(run_id)
        super().on_retriever_error(error, run_id=run_id, **kwargs)

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        self._check()
        private = self._audience.tool_began(run_id, parent_run_id, metadata)
        name = str((serialized or {}).get("name") or kwargs.get("name") or "")
        if why := self._why_not(tool_call_id, name, inputs, private=private):
            raise NotRun(why)
        self.named(run_id, name)
        if not private:
            self._inputs.began(run_id, inputs)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        super().on_tool_end(output, run_id=run_id, **kwargs)
        self._inputs.ended(run_id, output)

    def refused(self, call_id: str | None, *, name: str, parent_run_id: UUID | None) -> str | None:
        """Why this call must not be run, or `None` if it may."""
        return self._why_not(call_id, name, None, private=self._audience.is_private(parent_run_id))

    def renamed(self, ids: Mapping[str, str]) -> None:
        """Calls got other ids than the model gave them: old id -> new id."""
        self._invalid.renamed(ids)

    def continues(self, history: Sequence[BaseMessage], known: KnownMessages) -> None:
        """The state of the graph begins with these messages."""
        self._history, self._known = history, known

    def known_in(self, messages: Sequence[BaseMessage]) -> KnownMessages:
        """What is known of the history, if the messages begin with it."""
        count = len(self._history)
        # By identity: a node may have replaced a message.
        if 0 < count <= len(messages) and all(map(is_, self._history, messages)):
            return self._known
        return NONE_KNOWN

    def _why_not(self, call_id: str | None, name: str, inputs: Any, *, private: bool) -> str | None:
        ending = self._invalid.cut(call_id)
        # A public model was cut off: its answer ends here. A private one, as in a tool, only gets the error as result.
        if ending is not None and not private:
            self.cut_off = ending
            self._stopped = True
            raise RunCancelled("the model was cut off while it asked for tools")
        if why := self._invalid.why(call_id, name, inputs):
            return why
        # Private calls, such as those inside of a tool, do not count against the budget.
        if private:
            return None
        number = next(self._calls)
        self._called = max(self._called, number)
        if number <= self._budgets.tool_calls:
            return None
        self.out_of_calls = True
        if self._turns_without_calls >= PATIENCE:
            self._spend("tool_calls")
        allowed = self._budgets.tool_calls
        return f"the {allowed} tool calls of this answer are used up. Answer now, with what is known."

    # -- callbacks: models --------------------------------------------------------------------------------------

    def on_llm_start(
        self, serialized: Any, prompts: list[str], *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._check()
        self._audience.began(run_id, parent_run_id)

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
        self._check()
        if self._meter.written > self._budgets.output_tokens:
            self._spend("output_tokens")
        private = self._audience.began(run_id, parent_run_id, metadata)
        in_form = IN_FORM in (kwargs.get("tags") or ())
        outer = self._nested.began(run_id, parent_run_id)
        self._meter.began(run_id, outer)
        if outer is None:
            self.times.model_began(run_id)
            if self._spending is not None:
                self._spending.began(
                    run_id,
                    self._meter.of(run_id),
                    messages[0] if messages else (),
                    metadata=metadata,
                    params=kwargs.get("invocation_params") or {},
                    # A run writes one token more at most: then it is cut off.
                    most_output=self._budgets.output_tokens - self._meter.written + 1,
                )
        structured = wants_schema(
            kwargs.get("options") or {}, kwargs.get("invocation_params") or {}, of_client=self._client
        )
        structured = structured and not in_form
        if structured:
            self._structured.add(run_id)
        if structured or outer is not None:
            private = True
            self._audience.hide(run_id)
        if self.out_of_calls and not private:
            self._turns_without_calls += 1
        if metadata is not None:
            # LangGraph passes this dictionary object on with each token of the call, and itself writes `tags` to it.
            if private:
                metadata.pop(SPEAKER, None)
            else:
                metadata[SPEAKER] = str(run_id)
                if in_form:
                    metadata[IN_FORM] = True
        if self._spending is not None and self._spending.reserves:
            self._reserve_in_thread(self._spending, run_id)

    def _reserve_in_thread(self, spending: RunSpending, run_id: UUID) -> None:
        try:
            spending.reserve_in_thread(run_id)
        except AgentError as error:
            self.refuse(error)
        # The run may have been stopped meanwhile.
        self._check()

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        if self._stopped or time.monotonic() > self._deadline:
            self._check()
        call = self._meter.call(run_id)
        if call is None or not isinstance(chunk, ChatGenerationChunk):
            return
        message: Any = chunk.message
        calls = getattr(message, "tool_call_chunks", None)
        has_content = bool(message.content or calls)
        self._meter.heard(call, getattr(message, "usage_metadata", None), chunks=has_content)
        self._heard.add(run_id)
        if calls:
            self._invalid.heard(run_id, calls)
        # Not on a chunk without content: it only reports usage, and the answer may be complete.
        if has_content and self._meter.written > self._budgets.output_tokens:
            self._spend("output_tokens")

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        self.times.model_ended(run_id)
        call = self._meter.call(run_id)
        if call is None:
            return
        self._nested.ended(run_id)
        messages = [generation.message for generation in _generations(response)]
        usages = [usage for one in messages if isinstance(one, AIMessage) and (usage := one.usage_metadata)]
        self._meter.ended(call, usages)
        if self._spending is not None:
            self._spending.ended(run_id)
        if run_id in self._heard and not self._audience.is_private(run_id):
            self.spoken += [one.id for one in messages if one.id]
        for message in messages:
            # Not for structured output, whose parser reads the message and handles its own errors.
            self._invalid.ended(run_id, message, repair=run_id not in self._structured)
            ending = early_end_of(message.response_metadata)
            if ending is not None and ending.reason == "error":
                raise ModelFailed("the model endpoint ended its answer with an error; look at the endpoint's logs")

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self.times.model_ended(run_id)
        self._nested.ended(run_id)
        self.model_error = error
        call = self._meter.call(run_id)
        if call is not None and not isinstance(error, RunCancelled | CancelledError):
            self._meter.ended(call, [])
        if self._spending is not None:
            self._spending.ended(run_id, refused=not isinstance(error, RunCancelled | CancelledError))

    # -- what the callbacks share -------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._stopped:
            raise RunCancelled("the run was stopped")
        if time.monotonic() > self._deadline:
            self._spend("seconds")

    def refuse(self, error: AgentError) -> NoReturn:
        """A model call does not begin. Nor does anything else: the graph may catch what this raises."""
        self.refusal = self.refusal or error
        self._stopped = True
        raise RunCancelled("a model call was refused")

    def _spend(self, budget: str) -> NoReturn:
        self.spent = budget
        self._stopped = True
        raise RunCancelled(f"the run has used up its {budget}")


def _generations(response: LLMResult) -> Sequence[ChatGeneration]:
    return [one for batch in response.generations for one in batch if isinstance(one, ChatGeneration)]
