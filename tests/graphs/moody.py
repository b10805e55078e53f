"""Ends as its question says: with a refusal, cut off, on calls of the client's, with a draft taken back."""

from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from scripted import says

from graph_agent.testing import Blocks, Call, Finish, Reasoning, ScriptedChatModel

DECLINED = "I cannot help with that."


def block(**fields: Any) -> Blocks:
    return Blocks(fields)


MODELS: dict[str, ScriptedChatModel] = {
    "refuse": says([block(type="refusal", refusal=DECLINED, index=0)]),
    "hesitate": says(["Well. ", AIMessageChunk("", additional_kwargs={"refusal": DECLINED})]),
    "cut": says(["The ans", Finish("length")]),
    "filter": says(["The ans", Finish("content_filter")]),
    "cut call": says(["I do it. ", Call("work", '{"step": "a'), Finish("length")]),
    "client": says(["I need this. ", Call("open_door", '{"door": "front"}')], ["It is open."]),
    "again": says([Call("work", '{"step": "a"}', "call_0")], [Call("work", '{"step": "b"}', "call_0")], ["Done."]),
    "broken": says([Call("work", "step=a")], ["I could not."]),
    "think": says([Reasoning("Hm \ud83d"), Reasoning("\ude00"), "Emoji \ud83d", "\ude00 and\u2028lines\u0085."]),
    "aside": says(
        [
            block(type="text", text="Let me think.", phase="commentary", index=0),
            block(type="text", text="42.", phase="final_answer", index=1),
        ]
    ),
    "image": says([block(type="image", base64="iVBO", mime_type="image/png", index=0)]),
    "draft": says(["A draft."]),
    "direct": says([Call("form")], ["never"]),
}
"""By the question; the second turn is that after a result."""


@tool
def work(step: str) -> str:
    """Work."""
    return f"did {step}"


@tool
def form() -> str:
    """The form."""
    return "Fill this form."


def mood(state: MessagesState) -> str:
    return next(str(one.content) for one in reversed(state["messages"]) if one.type == "human")


async def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await MODELS[mood(state)].ainvoke(state["messages"])]}


def guard(state: MessagesState) -> dict[str, Any]:
    return {"messages": [RemoveMessage(str(state["messages"][-1].id)), AIMessage("The answer.")]}


def after_answer(state: MessagesState) -> str:
    last = state["messages"][-1]
    if mood(state) == "draft":
        return "guard"
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    return "tools" if calls and mood(state) != "client" else END


def after_tools(state: MessagesState) -> str:
    last = state["messages"][-1]
    return END if isinstance(last, ToolMessage) and last.name == "form" else "answer"


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_node("guard", guard)
builder.add_node("tools", ToolNode([work, form]))
builder.add_edge(START, "answer")
builder.add_conditional_edges("answer", after_answer, ["guard", "tools", END])
builder.add_conditional_edges("tools", after_tools, ["answer", END])
graph = builder.compile()
