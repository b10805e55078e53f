"""Decides which tool calls are new, and under which id each is sent.

Calls have the provider's ids. Some providers count from zero in every message, give parallel calls the same id, or give
none, so another call may have the same id. A call with an id that is taken is sent under a new id: clients resend calls
and results, and the ids must still say which belong together.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage

from graph_agent.client_tools import NO_TOOLS, ClientTool, ClientTools, ServedCall, client_call_in, served_call_in
from graph_agent.known_messages import KnownMessages
from graph_agent.protocol.events import new_id
from graph_agent.redaction import redact

Namespace = tuple[str, ...]
"""LangGraph's namespace of the graph that speaks; empty for the top graph."""


@dataclass(slots=True, eq=False)
class RequestedCall:
    """A call that a model asked for. Compared by identity, because two calls may look the same."""

    provider_id: str
    call_id: str
    """The id that the client gets."""
    name: str
    args: Any
    ns: Namespace
    message_id: str | None
    client: ClientTool | None = None
    """The client's tool that it calls, if the client runs it."""
    served: ServedCall | None = None
    """The tool of an MCP server of the client that it calls, if it is one."""

    @property
    def name_on_server(self) -> str:
        """The tool's name beside the label of its server."""
        return self.public_name if self.served is None else redact(self.served.name)

    @property
    def public_name(self) -> str:
        """The tool's name as the client gets it. It is redacted, because a model may invent one."""
        return redact(self.name if self.client is None else self.client.name)

    def says(self, call: Any) -> bool:
        """Whether this is what `call` asks for."""
        return (self.provider_id, self.name, self.args) == ((call["id"] or ""), call["name"], call["args"])


def arguments_text(arguments: Any) -> str:
    """A call's arguments as JSON, as its item says them but for secrets."""
    return json.dumps(arguments, ensure_ascii=False, skipkeys=True, default=str)


def arguments_of(arguments: Any) -> str:
    """A call's arguments as its item says them."""
    return redact(arguments_text(arguments))


class RequestedCalls:
    """The calls of one run. `known` are messages the caller sent: their calls are known, and their ids are taken.

    `client` are the tools of the client."""

    def __init__(self, known: KnownMessages, *, client: ClientTools = NO_TOOLS) -> None:
        self._client = client
        self._known = [known]
        self._found: dict[str, list[RequestedCall]] = {}
        self._taken: set[str] = set()
        self._asked: list[RequestedCall] = []

    def continues(self, known: KnownMessages) -> None:
        """The calls of these messages are known too. They are earlier ones."""
        self._known = [known, self._known[-1]]
        self._found.clear()

    def restore(self, asked: Iterable[RequestedCall], taken: Iterable[str]) -> None:
        """Restore the calls that an earlier attempt of this run sent, and every id that it used."""
        self._asked += asked
        self._taken.update(taken)

    def news(
        self, message: AIMessage, ns: Namespace, *, answered: Collection[str], waiting: Collection[RequestedCall]
    ) -> list[RequestedCall]:
        """The calls of a message that were not sent yet."""
        asked = [*self._known_under(message), *self._asked]
        before = [one for one in asked if self._same_message(one, message, ns, answered, waiting)]
        news = []
        for call in message.tool_calls:
            again = next((one for one in before if one.provider_id == (call["id"] or "")), None)
            if again is not None:
                before.remove(again)
                # A node edited the call before its tool runs: the result belongs to the edited call.
                if again in waiting:
                    again.name, again.args = call["name"], call["args"]
            else:
                news.append(self._ask(call, message, ns))
        return news

    def of(self, message: AIMessage) -> list[RequestedCall]:
        """The calls of a message, as they were sent: the latest if several look the same."""
        found: list[RequestedCall] = []
        asked = [*self._known_under(message), *self._asked]
        for call in message.tool_calls:
            same = [one for one in reversed(asked) if one.says(call) and one not in found]
            found += sorted(same, key=lambda one: one.message_id != message.id)[:1]
        return found

    def _known_under(self, message: AIMessage) -> list[RequestedCall]:
        """The known calls under the ids of the calls of this message. A conversation may have thousands of others."""
        found: list[RequestedCall] = []
        for provider_id in dict.fromkeys(call["id"] or "" for call in message.tool_calls):
            if provider_id not in self._found:
                # Made once, because calls are compared by identity.
                self._found[provider_id] = [
                    RequestedCall(provider_id, provider_id, call["name"], call["args"], (), one.id)
                    for known in self._known
                    for one in known.asking(provider_id)
                    for call in one.tool_calls
                    if (call["id"] or "") == provider_id
                ]
            found += self._found[provider_id]
        return found

    def is_free(self, provider_id: str) -> bool:
        """Whether a call with that id is sent under it."""
        # An id that redaction would change is not sent: call and result must keep the same id.
        return bool(provider_id) and not self._is_taken(provider_id) and redact(provider_id) == provider_id

    def _is_taken(self, provider_id: str) -> bool:
        return provider_id in self._taken or any(one.asks(provider_id) for one in self._known)

    def _same_message(
        self,
        one: RequestedCall,
        message: AIMessage,
        ns: Namespace,
        answered: Collection[str],
        waiting: Collection[RequestedCall],
    ) -> bool:
        """Whether that call was sent with this message, or with one that this is a copy of.

        A message may be returned again with edited calls. While they wait, these are the same calls, not new ones. A
        copy has another id: a parent graph returned it, or it comes together with the result.
        """
        if one.message_id is not None and one.message_id == message.id:
            return one in waiting or any(one.says(call) for call in message.tool_calls)
        if not any(one.says(call) for call in message.tool_calls):
            return False
        from_below = len(ns) < len(one.ns) and one.ns[: len(ns)] == ns
        return from_below or one.provider_id in answered

    def _ask(self, call: Any, message: AIMessage, ns: Namespace) -> RequestedCall:
        provider_id = call["id"] or ""
        call_id = provider_id if self.is_free(provider_id) else new_id("call")
        self._taken.add(call_id)
        client = client_call_in(message, call, self._client.by_name)
        served = served_call_in(message, call, self._client.served)
        asked = RequestedCall(provider_id, call_id, call["name"], call["args"], ns, message.id, client, served)
        self._asked.append(asked)
        return asked
