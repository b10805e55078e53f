"""A supervisor and two agents. One answers from the documents, the other uses functions.

    supervisor ──► documents ──┐
       ▲  └──────► data ───────┼──► end
       └───────────────────────┘

A single agent answers the caller itself. If several are needed, the supervisor combines their answers.
"""

from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import tools_condition

from graph_agent import (
    AgentContext,
    AgentState,
    DocumentSearch,
    Handoff,
    McpServer,
    McpTools,
    chat_model,
    hand_back,
    make_agent,
    make_planner,
    make_retriever,
    make_supervisor,
    make_tools,
    requested_nodes,
    route_handoffs,
)

SUPERVISOR = """You lead a small team. Hand each question to the agent that is for it, or its parts to several at \
once. When their answers are there, put them together in one or two short sentences, and keep numbers such as [1]."""

DOCUMENTS = """Answer questions about the graph-agent project only from its documentation. Use search_docs first, \
always. Answer in one or two short sentences, and cite the passage you used by its number, such as [1]."""

# The words of `assistant.py`. They stand behind the passages and the question, in place of those above.
ANSWER = """Use this to answer each part of the question in one short sentence, and cite the passages you used by \
their numbers, such as [1]."""

DATA = """Work out what is asked with your tools, never in your head, and repeat the result in your answer."""

model = chat_model(temperature=0)
search = DocumentSearch(name="search_docs", description="Search the documentation of graph-agent.", example="topic")
# Unity Catalog functions; the local workspace has some too. LangChain tools work here as well.
tools = [McpTools([McpServer.functions("main.tools")])]

agents = [
    Handoff(
        to="data",
        description="Arithmetic, units, dates and times.",
        example="Convert 3.5 miles to km",
    ),
    Handoff(
        to="documents",
        description="Everything else: questions about the graph-agent project and its documentation.",
        example="How is it installed?",
    ),
]

documents = StateGraph(AgentState, context_schema=AgentContext)
documents.add_node(
    "planner",
    make_planner(
        model=model,
        tools=[search.schema],
        prompt=DOCUMENTS,
        # For small models, here and below; see `assistant.py`.
        require_tool_first=True,
        no_answer_text="The documents do not answer this.",
        closest_text="Closest to it is {passage}.",
        answerability_model=model,
        answer_prompt=ANSWER,
    ),
)
documents.add_node("retriever", make_retriever(search, with_question=True, longest_passage=600))
# There are no other tools. This node answers a model that calls one anyway.
documents.add_node("tools", make_tools([], skip=[search.name]))
documents.add_edge(START, "planner")
documents.add_conditional_edges("planner", requested_nodes(retrieval=search.name), ["retriever", "tools", END])
documents.add_edge("retriever", "planner")
documents.add_edge("tools", "planner")

data = StateGraph(AgentState, context_schema=AgentContext)
data.add_node("planner", make_planner(model=model, tools=tools, prompt=DATA, require_tool_first=True))
data.add_node("tools", make_tools(tools))
data.add_edge(START, "planner")
data.add_conditional_edges("planner", tools_condition)
data.add_edge("tools", "planner")

builder = StateGraph(AgentState, context_schema=AgentContext)
builder.add_node("supervisor", make_supervisor(model=model, agents=agents, prompt=SUPERVISOR, require_tool_first=True))
builder.add_node(
    "documents",
    make_agent("documents", documents.compile(name="documents"), tool_filter=lambda tool: tool == search.name),
)
builder.add_node("data", make_agent("data", data.compile(name="data"), tool_filter=lambda tool: tool != search.name))
builder.add_edge(START, "supervisor")
builder.add_conditional_edges("supervisor", route_handoffs, ["supervisor", "documents", "data", END])
builder.add_conditional_edges("documents", hand_back, ["supervisor", END])
builder.add_conditional_edges("data", hand_back, ["supervisor", END])

# No checkpointer here: LangGraph Studio and the service each attach their own.
graph = builder.compile()
