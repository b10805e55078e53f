"""Says what JSON cannot."""

from datetime import datetime
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel
from scripted import says


class Thing:
    def __repr__(self) -> str:
        return "password=hunter2"


class Model(BaseModel):
    name: str = "m"


class State(MessagesState):
    custom_outputs: dict[Any, Any]


model = says(["half \ud83d", " of a face"])


async def answer(state: State) -> dict[str, Any]:
    outputs = {
        "set": {"one"},
        "bytes": b"hunter2",
        "nan": float("nan"),
        "thing": Thing(),
        "when": datetime(2026, 1, 1),
        "half": "\ud83d",
        7: "seven",
        "model": Model(),
        "large": 2**65,
    }
    return {"messages": [await model.ainvoke(state["messages"])], "custom_outputs": outputs}


builder = StateGraph(State)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()
