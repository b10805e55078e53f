"""The complete example: answers from your documents, uses tools where they help, and cites its sources.

    planner ──► retriever ──► planner ──► end
       └──────► tools ──────────┘

Its last message is the answer. A report to the project is kept only after the user has approved it.
"""

from typing import Annotated
from uuid import uuid4

from langchain_core.tools import ToolException, tool
from langgraph.config import get_store
from langgraph.graph import END, START, StateGraph
from pydantic import Field

from graph_agent import (
    AgentContext,
    AgentState,
    DocumentSearch,
    calculator,
    chat_model,
    convert_units,
    current_time,
    make_planner,
    make_retriever,
    make_tools,
    redact_async,
    requested_nodes,
)

PROMPT = """You are the assistant of the graph-agent project. Use convert_units when a question names units, \
current_time for dates and times, calculator for other arithmetic, and repeat the result in your answer. For \
everything else use search_docs first, always: answer questions about the project only from its documentation, in one \
or two short sentences, and cite the passage you used by its number, such as [1]. Use report_problem only when the \
user says to report a problem."""

ANSWER_PROMPT = """Use this to answer each part of the question in one short sentence, and cite the passages you used \
by their numbers, such as [1]."""

NOTHING_FOUND = "The documents do not answer this."
CLOSEST = "Closest to it is {passage}."

documents = DocumentSearch(
    name="search_docs",
    description="Search the documentation of graph-agent. Every question goes here, also about errors.",
    example="topic",
)


@tool
async def report_problem(
    summary: Annotated[
        str,
        Field(
            description="what is wrong, in the user's words", max_length=2000, examples=["The page of roots is gone."]
        ),
    ],
) -> str:
    """Send the user's report to the project. Never for a question."""
    try:
        store = get_store()
    except (KeyError, RuntimeError):
        store = None
    if store is None:
        raise ToolException("reports cannot be kept here")
    key = uuid4().hex
    await store.aput(("reports",), key, {"text": await redact_async(summary)})
    return f"Reported as {key[:8]}."


model = chat_model(temperature=0)
tools = [calculator, current_time, convert_units, report_problem]

builder = StateGraph(AgentState, context_schema=AgentContext)
builder.add_node(
    "planner",
    make_planner(
        model=model,
        tools=[documents.schema, *tools],
        prompt=PROMPT,
        # For small models. A large model decides well without it, and can then greet without a search.
        require_tool_first=True,
        no_answer_text=NOTHING_FOUND,
        closest_text=CLOSEST,
        answerability_model=model,
        answer_prompt=ANSWER_PROMPT,
    ),
)
builder.add_node("retriever", make_retriever(documents, with_question=True, longest_passage=600))
builder.add_node("tools", make_tools(tools, skip=[documents.name], approve=[report_problem.name]))
builder.add_edge(START, "planner")
builder.add_conditional_edges("planner", requested_nodes(retrieval=documents.name), ["retriever", "tools", END])
builder.add_edge("retriever", "planner")
builder.add_edge("tools", "planner")

# No checkpointer here: LangGraph Studio and the service each attach their own.
graph = builder.compile()
