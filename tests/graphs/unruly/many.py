"""Says many words, each an event of its own."""

import sys
from pathlib import Path
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

sys.path.append(str(Path(__file__).parent.parent))

from scripted import says

model = says(["many "] * 8000)


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await model.ainvoke(state["messages"])]}


graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()
