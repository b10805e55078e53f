"""What the models of one run use, call by call, and the tokens that are reserved for those in progress."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.tools import BaseTool

from graph_agent.errors import AgentError, LimitReached, StoreUnavailable
from graph_agent.identity.owner import Owner
from graph_agent.runs.ledger import Ledger
from graph_agent.runs.usage_meter import CallUsage
from graph_agent.stores.usage_records import Call, Charge, Grant, Reservation

CHARACTERS_PER_TOKEN = 3.0
"""How many characters of a prompt count as a token before the model says how many there were. English text has about
four, so the estimate is too high for it rather than too low. Chinese or Japanese text has about one."""

MOST_NAME = 200
"""Characters of the name of a model."""

LONGEST_SECONDS = 60.0
"""How long a thread waits for a reservation at most. The ledger gives up before."""

ANSWER_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens")
"""Parameters of models that limit an answer."""


@dataclass(slots=True)
class _Open:
    """A call in progress."""

    call: Call
    usage: CallUsage
    messages: Sequence[BaseMessage]
    tools: Sequence[Any]
    most_output: int
    reservation: str | None = None

    @property
    def prompt(self) -> int:
        """The tokens of the prompt, as estimated."""
        tools: list[BaseTool | dict[str, Any]] = [one for one in self.tools if isinstance(one, dict)]
        return count_tokens_approximately(self.messages, chars_per_token=CHARACTERS_PER_TOKEN, tools=tools or None)


class RunSpending:
    """The account of one run. Its methods may be called in any thread."""

    def __init__(self, ledger: Ledger, *, owner: Owner, graph: str, approval: str | None = None) -> None:
        """`approval` is the id of the approval with which the user has decided to go on over the own limit."""
        self._ledger, self._owner, self._graph = ledger, owner, graph
        self._approval = approval
        self._calls: dict[UUID, _Open] = {}
        self._lock = threading.Lock()

    @property
    def reserves(self) -> bool:
        """Whether calls need a reservation."""
        return self._ledger.limits.of_tokens

    @property
    def extra_tokens(self) -> int | None:
        """The tokens by which the user may raise the own limit of the day, or `None` if the user may not."""
        return self._ledger.limits.user_extra_tokens

    def attach(self) -> None:
        """The run begins in the running event loop."""
        self._ledger.attach()

    def began(
        self,
        run_id: UUID,
        usage: CallUsage,
        messages: Sequence[BaseMessage],
        *,
        metadata: Mapping[str, Any] | None,
        params: Mapping[str, Any],
        most_output: int,
    ) -> None:
        """A model call begins. `most_output` is the most that it may write, unless its own parameters say less."""
        call = Call(
            day=self._ledger.today(), owner=self._owner, graph=self._graph, model=_model_of(metadata or {}, params)
        )
        asked = [value for name in ANSWER_LIMITS if isinstance(value := params.get(name), int) and value > 0]
        tools = params.get("tools")
        self._calls[run_id] = _Open(
            call=call,
            usage=usage,
            messages=messages,
            tools=tools if isinstance(tools, Sequence) else (),
            most_output=max(min([most_output, *asked]), 1),
        )

    async def reserve(self, run_id: UUID) -> None:
        """Reserve what a call may use, on the event loop of the service. It may wait for other calls to end.

        Raises:
            LimitReached: so many tokens are not left.
            StoreUnavailable: the database does not answer.
        """
        if (one := self._calls.get(run_id)) is not None:
            try:
                reserved = await self._reserved(one)
            except BaseException:
                self._calls.pop(run_id, None)
                raise
            with self._lock:
                one.reservation = reserved.id
                is_over = run_id not in self._calls
            if is_over:
                # The run has ended meanwhile, and a thread of it goes on.
                self._ledger.release(reserved)

    def reserve_in_thread(self, run_id: UUID) -> None:
        """The same in any other thread, which waits. On that of the event loop it does nothing. Raises as `reserve`."""
        loop = self._ledger.loop
        if loop is None or self._ledger.is_of_thread(threading.get_ident()):
            return
        reserving = asyncio.run_coroutine_threadsafe(self.reserve(run_id), loop)
        try:
            reserving.result(timeout=LONGEST_SECONDS)
        except TimeoutError:
            reserving.cancel()
            raise StoreUnavailable("the limits could not be checked in time") from None

    async def _reserved(self, one: _Open) -> Reservation:
        tokens = one.prompt + one.most_output
        try:
            return await self._ledger.reserve(one.call, tokens)
        except LimitReached as reached:
            if self._approval is None or self.extra_tokens is None or not reached.may_be_raised:
                raise
        grant = Grant(id=self._approval, owner=self._owner, tokens=self.extra_tokens)
        return await self._ledger.reserve(one.call, tokens, grant=grant)

    def ended(self, run_id: UUID, *, refused: bool = False) -> None:
        """A model call has ended. `refused` says that its endpoint gave no answer."""
        with self._lock:
            one = self._calls.pop(run_id, None)
        if one is not None:
            self._ledger.charge(_charge_of(one, refused=refused and not one.usage.spoke))

    def is_here(self) -> bool:
        """Whether this code runs on the event loop of the service."""
        return asyncio.get_running_loop() is self._ledger.loop

    def close(self) -> None:
        """The run is over: count the calls that were cut off."""
        for run_id in list(self._calls):
            self.ended(run_id)


def _charge_of(one: _Open, *, refused: bool) -> Charge:
    if refused:
        return Charge(call=one.call, reservation=one.reservation)
    total = one.usage.total()
    return Charge(
        call=one.call,
        # Nothing was reported if the call was cut off, and never is by some endpoints.
        input_tokens=total.input_tokens or one.prompt,
        cached_tokens=total.cached_tokens,
        output_tokens=max(total.output_tokens, one.usage.written),
        reasoning_tokens=total.reasoning_tokens,
        reservation=one.reservation,
    )


def _model_of(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    """The name of a model: that of an endpoint, as its client gives it."""
    names = (metadata.get("ls_model_name"), params.get("model"), params.get("model_name"), params.get("_type"))
    name = next((one for one in names if isinstance(one, str) and one), "unknown")
    return name[:MOST_NAME]


class TokenGate(BaseCallbackHandler):
    """Lets a model call of a coroutine begin when its tokens are reserved. `RunMonitor` does it for one of a thread.

    It is a callback of its own, because it waits. `RunMonitor` sets a context variable, which a coroutine could not do
    for the code of a thread. It hears only of calls that begin, so that no token of an answer passes through it.
    """

    run_inline = True
    raise_error = True

    def __init__(
        self, spending: RunSpending, refused: Callable[[AgentError], NoReturn], *, begins: Callable[..., None]
    ) -> None:
        """`refused` is called if the call does not begin, and `begins` as a callback is, if it does."""
        super().__init__()
        self._spending, self._refused, self._begins = spending, refused, begins

    @property
    def ignore_llm(self) -> bool:
        return True

    @property
    def ignore_chain(self) -> bool:
        return True

    @property
    def ignore_agent(self) -> bool:
        return True

    @property
    def ignore_retriever(self) -> bool:
        return True

    @property
    def ignore_retry(self) -> bool:
        return True

    @property
    def ignore_custom_event(self) -> bool:
        return True

    async def on_chat_model_start(
        self, serialized: Any, messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        """Reserve the tokens of a call."""
        # Elsewhere, LangChain runs this for a call without `await`, and drops what it raises. If a node in a thread has
        # made that call, its tokens are reserved. A coroutine that has made it keeps the event loop from reserving
        # anything: the call counts when it has ended.
        if self._spending.is_here():
            try:
                await self._spending.reserve(run_id)
            except AgentError as error:
                self._refused(error)
        self._begins(serialized, messages, run_id=run_id, **kwargs)
