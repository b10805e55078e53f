"""The agent: it searches the documents, looks up orders with a tool, and cites its sources.

    planner ──► retriever ──► planner ──► end
       └──────► tools ──────────┘

It never answers from memory: every turn starts with a search. If nothing answers the question, it says so.
"""

from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from graph_agent import (
    AgentState,
    DocumentSearch,
    chat_model,
    make_planner,
    make_retriever,
    make_tools,
    requested_nodes,
)

PROMPT = """Answer in one or two short sentences, only from what search_docs and the tools have found in this \
conversation, and cite the passage you used by its number, such as [1]. Use order_status when a question names an \
order. If something is not in there, say that you did not find it: never guess, and never say what is usual."""

# In place of PROMPT where a turn has only searched: a small model then reads the passages once for the check and the
# answer, and not twice.
ANSWER_PROMPT = """Use this to answer each part of the question in one short sentence, and cite the passages you used \
by their numbers, such as [1]."""

NOTHING_FOUND = "I did not find this in the documents. Ask me about returns, delivery, or an order such as A1001."

TOOL_FAILED = "I could not look this up because of a technical fault. Please try again later."

# An example. Replace it with a call of your own system.
ORDERS = {"A1001": "sent on 3 May", "A1002": "being packed"}


@tool
async def order_status(order: str) -> str:
    """Look up where an order is, by its number, such as A1001."""
    # If this raises, the agent answers TOOL_FAILED, and never claims that there is no such order.
    return ORDERS.get(order.strip().upper(), f"There is no order {order}.")


# Without `index` it searches the index in GRAPH_AGENT_INDEX. `graph-agent dev` builds that index from documents/.
documents = DocumentSearch(name="search_docs", description="Search the documents.", example="topic")
# Without a name it uses the model in GRAPH_AGENT_MODEL. In `graph-agent dev` this is the local model.
model = chat_model(temperature=0)
tools = [order_status]

builder = StateGraph(AgentState)
builder.add_node(
    "planner",
    make_planner(
        model=model,
        tools=[documents.schema, *tools],
        prompt=PROMPT,
        # The documents are searched in every turn, even if the model does not request it.
        require_tool_first=documents.name,
        no_answer_text=NOTHING_FOUND,
        tool_failed=TOOL_FAILED,
        answerability_model=model,
        answer_prompt=ANSWER_PROMPT,
    ),
)
# It also searches for the user's own question. A large model reads quickly: leave `longest_passage` out for it.
builder.add_node("retriever", make_retriever(documents, with_question=True, longest_passage=600))
builder.add_node("tools", make_tools(tools, skip=[documents.name]))
builder.add_edge(START, "planner")
builder.add_conditional_edges("planner", requested_nodes(retrieval=documents.name), ["retriever", "tools", END])
builder.add_edge("retriever", "planner")
builder.add_edge("tools", "planner")

# Without a checkpointer, because LangGraph Studio and the service each attach their own.
graph = builder.compile()
