"""Forgets a task that fails, and logs an exception with its traceback: both hold a password."""

import asyncio
import logging
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph

PASSWORD = "hunter2-5f0c"

logger = logging.getLogger("careless")


async def fail() -> None:
    raise ValueError(PASSWORD)


async def answer(state: MessagesState) -> dict[str, Any]:
    await asyncio.wait([asyncio.create_task(fail())])
    try:
        raise KeyError(PASSWORD)
    except KeyError:
        logger.exception("could not connect")
    return {"messages": [AIMessage("All is well.")]}


builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
graph = builder.compile()
