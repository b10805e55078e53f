"""The graph behind the pages under test: what the user says decides what its model does."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from graph_agent import (
    AgentContext,
    AgentState,
    make_planner,
    make_retriever,
    make_tools,
    memory_tools,
    requested_nodes,
)
from graph_agent.nodes.langchain_retriever import RetrieverSearch
from graph_agent.testing import Call, Reasoning, ScriptedChatModel, Wait


class Shelf(BaseRetriever):
    """Two documents, whatever is asked."""

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return [
            Document(
                id=f"chunk-{number}",
                page_content=f"The {name} closes at {hour} o'clock.",
                metadata={"doc_uri": f"https://docs.example/{name}", "title": f"The {name}", "score": 0.9 / number},
            )
            for number, (name, hour) in enumerate([("library", 8), ("museum", 6)], 1)
        ]


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    if city == "Atlantis":
        raise RuntimeError("no such city")
    return f"21 degrees in {city}"


@dataclass
class Talk:
    """A graph whose model does what the user's last message names, and what its tools have done.

    | The message begins with | The model |
    |---|---|
    | `weather CITY` | calls a tool, then answers with its result |
    | `search WORDS` | searches, then cites both documents |
    | `mail A, B` | asks to send mail to each: approvals |
    | `remember WORDS` | saves a memory |
    | `think` | shows its reasoning, then answers |
    | `wait` | says half of its answer, and the rest when `go_on` is set |
    | `fail` | breaks off after half of its answer |
    | `say TEXT` | says that text, whatever it is |
    | anything else | repeats it |
    """

    sent: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)
    said: dict[str, str] = field(default_factory=dict)
    """Long texts by name: `say NAME` says them."""

    def graph(self) -> Any:
        """The compiled graph."""

        @tool
        def send_mail(to: str, subject: str = "Hello") -> str:
            """Send a mail to a person."""
            self.sent.append(f"{to}: {subject}")
            return f"sent to {to}"

        model = ScriptedChatModel(self._reply)
        tools = [weather, send_mail, *memory_tools()]
        shelf = RetrieverSearch(retriever=Shelf())
        builder = StateGraph(AgentState, context_schema=AgentContext)
        builder.add_node("planner", make_planner(model=model, tools=[shelf.schema, *tools], prompt="Help."))
        builder.add_node("retriever", make_retriever(shelf))
        builder.add_node("tools", make_tools(tools, approve=["send_mail"]))
        builder.add_edge(START, "planner")
        builder.add_conditional_edges("planner", requested_nodes(retrieval=shelf.name), ["retriever", "tools", END])
        builder.add_edge("retriever", "planner")
        builder.add_edge("tools", "planner")
        return builder.compile()

    def _reply(self, messages: Sequence[BaseMessage]) -> list[Any]:
        asked = next(message for message in reversed(messages) if isinstance(message, HumanMessage)).text
        results = messages[-1:] if isinstance(messages[-1], ToolMessage) else []
        word, _, rest = asked.partition(" ")
        if results:
            if word == "search":
                return ["The library closes ", "at 8 [1], the museum at 6 [2]."]
            return [f"Done: {messages[-1].text}"]
        match word:
            case "weather":
                return [Call("weather", {"city": rest or "Rome"})]
            case "search":
                return [Call("search_docs", {"query": rest or "hours"})]
            case "mail":
                return [Call("send_mail", {"to": one.strip()}) for one in rest.split(",")]
            case "remember":
                return [Call("save_memory", {"text": rest})]
            case "think":
                return [Reasoning("First this, "), Reasoning("then that."), "Thought ", "about it."]
            case "wait":
                return ["The first half. ", Wait(self.go_on, self.waiting), "The second half."]
            case "fail":
                return ["Half an ans", RuntimeError("broken")]
            case "say":
                return [self.said.get(rest, rest)]
        return [f"You said: {asked}"]
