"""A synchronous node that holds its thread until a file is there."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime


@dataclass
class Context:
    until: str


def hold(state: MessagesState, runtime: Runtime[Context]) -> dict[str, Any]:
    while not Path(runtime.context.until).exists():
        time.sleep(0.2)
    return {"messages": [("ai", "Let go.")]}


graph = StateGraph(MessagesState, context_schema=Context).add_node("hold", hold).add_edge(START, "hold").compile()
