"""A graph that answers with everything that it was asked. It waits for a second if it is asked to."""

import asyncio

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


async def recall(state: MessagesState) -> MessagesState:
    asked = [message.text for message in state["messages"] if message.type == "human"]
    if asked[-1] == "wait":
        await asyncio.sleep(60)
    return {"messages": [AIMessage(" | ".join(asked))]}


graph = StateGraph(MessagesState).add_node(recall).add_edge(START, "recall").compile()
