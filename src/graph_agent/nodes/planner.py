"""The planner: the model decides whether to retrieve, to use tools, or to answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.runnables import Runnable, RunnableConfig

from graph_agent.answer_form import (
    AGAIN,
    IN_FORM,
    TAKES_FORM,
    AnswerForm,
    Pulse,
    Unfit,
    current_answer_form,
    no_pulse,
)
from graph_agent.client_tools import (
    TAKES_TOOLS,
    ClientTools,
    client_calls_of,
    current_client_tools,
    open_client_calls,
    with_marks,
)
from graph_agent.contract import ListedTools, NodeState, Source
from graph_agent.errors import ConfigurationError, InvalidRequest
from graph_agent.model_options import takes_logprobs
from graph_agent.models.deferred import DeferredChatModel
from graph_agent.nodes.answerability import ANSWERING, ROLE, AnswerCheck, Evidence, short
from graph_agent.nodes.citations import CheckedCitations, Citation, citations_in, held, without_markers
from graph_agent.nodes.history import History
from graph_agent.nodes.node import Node
from graph_agent.nodes.retrieval_messages import EMPTY_SEARCH, NUMBERED, PASSAGES
from graph_agent.nodes.tool_errors import TOOL_FAULT
from graph_agent.nodes.tool_sources import available_tools, tool_name_of
from graph_agent.quick_routers import quick
from graph_agent.redaction import redact
from graph_agent.summaries import is_summary
from graph_agent.threads import run_giving_way
from graph_agent.tool_call_policy import with_unique_ids

MOST_QUERY = 1_000
"""Characters of a question that becomes a search query unchanged."""

MOST_PASSAGE = 2_000
"""Characters of a cited passage in the outputs of a run."""

PASSAGE = "{passage}"
"""What stands in `closest_text` for the title and the citation of a passage."""

LONGEST_TITLE = 100
"""Characters of a title in an answer that declines."""


def make_planner(
    *,
    model: BaseChatModel,
    tools: Sequence[Any],
    prompt: str,
    require_tool_first: bool | str = False,
    no_answer_text: str | None = None,
    closest_text: str | None = None,
    tool_failed: str | None = None,
    answerability_model: BaseChatModel | None = None,
    answer_prompt: str | None = None,
    history: int | None = None,
) -> Node:
    """A node that asks `model` for the next step, with `tools` to choose from.

    Its last message is the answer. Citations in it are checked against `state["sources"]` and become annotations, and
    `custom_outputs["sources"]` lists the retrieved passages.

    With `require_tool_first`, the first step of a turn is a tool call, as small models tend to answer from memory. If
    `require_tool_first` is the name of a search, that search is always part of the first step. If the model does not
    call it, the query is the user's own words. Nothing that the model says before the search is shown.

    With `no_answer_text`, a turn whose searches found nothing is answered with that sentence, and an answer equal to it
    has no citations. With `answerability_model`, that model first decides whether the passages answer the question; see
    `AnswerCheck`. If it decides that they do not, `closest_text` follows, in which `{passage}` stands for the title of
    the passage that was found first, and its citation. So readers see where to go on, also where the model was wrong.

    With `answer_prompt` beside `answerability_model`, a turn that only searched is answered from its passages and the
    question, with that text behind them in place of `prompt`, and without tools. The check begins with the same words,
    so an endpoint that keeps what it has read reads the passages once. If the request has tools or instructions of its
    own, or its question is more than text, the answer gets `prompt` and the tools.

    With `tool_failed`, a turn is answered with that sentence if a tool of `make_tools` failed through no fault of its
    arguments: a small model that reads of the failure would still say that nothing was found.

    The model sees the newest turns of a long conversation: about `history` tokens, else `GRAPH_AGENT_HISTORY_TOKENS`,
    else as many as it can read. The state keeps all of them.

    Tool sources among `tools` are asked for their tools in each step. The model sees their warnings, and
    `custom_outputs["warnings"]` has them beside the answer.

    The tools of the client stand beside `tools`. The model may call them, and a call of one ends the turn: the node
    adds nothing until the client has answered, and `requested_nodes` sends such calls to no node.

    If the request asks for JSON, the model is told so, and its answer is checked. One that does not fit is asked for
    once more. It streams from a model whose `profile` says that its endpoint enforces schemas: then there is no second
    attempt. Citations and the fixed answers of `no_answer_text` and `tool_failed` do not apply then.

    Raises:
        ConfigurationError: `closest_text` does not have `{passage}` once.
    """

    if closest_text is not None and closest_text.count(PASSAGE) != 1:
        raise ConfigurationError(f"closest_text needs {PASSAGE} once, where the title of the closest passage belongs")
    seen = History(model, history)
    check = None if answerability_model is None else AnswerCheck(answerability_model)

    async def plan(state: NodeState, config: RunnableConfig) -> dict[str, Any]:
        if open_client_calls(state["messages"]):
            return {"messages": []}
        client, form = current_client_tools(), current_answer_form()
        sources = state.get("sources") or []
        results = results_of_turn(state["messages"])
        evidence = None
        if form is None:
            if tool_failed is not None and any(TOOL_FAULT in result.additional_kwargs for result in results):
                return answer_update(AIMessage(tool_failed), sources, cites=False)
            evidence = _evidence(state["messages"], results, sources, ANSWERING if answer_prompt else ROLE)
            if no_answer_text is not None and not await _worth_answering(results, evidence, check):
                closest = None if evidence is None else evidence.closest
                return _declining_update(no_answer_text, closest_text, closest, sources)
        usable = with_client_tools(await available_tools(tools), client, keeps_own=bool(require_tool_first))
        checked: BaseChatModel = model
        if form is None:
            # Not in JSON, in which a list of numbers looks like a citation.
            checked = CheckedCitations(
                model=model, numbers=tuple(source.number for source in sources), sources=tuple(sources)
            )
        # Model endpoints refuse a required choice without tools.
        required = bool(require_tool_first and usable.tools and not results)
        wanted = "required" if required else client.choice_after(state["messages"]) if client else None
        choice = {"tool_choice": wanted} if wanted and usable.tools else {}
        asked: Runnable[Any, AIMessage] = checked.bind_tools(usable.tools, **choice) if usable.tools else checked
        told: RunnableConfig | None = None
        instructions = _with_warnings(prompt, usable)
        if form is not None:
            instructions = f"{instructions}\n\n{form.instructions}"
            # Not beside tools: some endpoints refuse both together, and others then never call a tool.
            if not usable.tools and isinstance(model, DeferredChatModel):
                asked = asked.bind(response_format=form.response_format)
                told = {"tags": [IN_FORM]} if form.kind == "json_schema" and enforces_schemas(model) else None
        if evidence is not None and answer_prompt is not None and _is_enough(state["messages"], usable, client):
            reply = await seen.ask(checked, evidence.instructions, [HumanMessage(evidence.asking(answer_prompt))])
        elif required and isinstance(require_tool_first, str):
            # Not streamed: a model may ignore `required`, and streamed text cannot be withdrawn.
            whole = await seen.ask(asked, instructions, state["messages"], config={"tags": ["nostream"]})
            reply = with_search(whole, require_tool_first, state["messages"])
        else:
            reply = await seen.ask(asked, instructions, state["messages"], config=told)
        if form is not None and not reply.tool_calls and told is None:
            reply = await _in_form(reply, form, lambda more: seen.ask(asked, instructions, [*state["messages"], *more]))
        if reply.tool_calls:
            reply = with_unique_ids(client.only_first(reply) if client else reply, state["messages"], config)
            return {"messages": [with_marks(reply)]}
        cites = form is None and reply.text.strip() != no_answer_text
        answer = answer_update(reply, sources, cites=cites, results=results)
        # An empty list too, as it replaces the warnings of an earlier turn.
        if usable.warnings or (state.get("custom_outputs") or {}).get("warnings"):
            answer["custom_outputs"]["warnings"] = list(usable.warnings)
        return answer

    # Says before the first run that requests may bring tools, and which names are taken.
    setattr(plan, TAKES_TOOLS, tuple(filter(None, map(tool_name_of, tools))))
    setattr(plan, TAKES_FORM, True)
    takes_logprobs(plan)
    return plan


async def _in_form(
    reply: AIMessage, form: AnswerForm, ask_again: Callable[[list[BaseMessage]], Awaitable[AIMessage]]
) -> AIMessage:
    """The answer in the form that the request asks for, at the second attempt if need be.

    One that does not fit then, too, is returned as it is: the run fails for it, and says so.
    """
    fitting, problem = await fit_gently(reply, form)
    if problem is None or early_end_of_model(reply):
        return fitting
    again = await ask_again([reply, HumanMessage(AGAIN.format(problem=problem))])
    return again if again.tool_calls else (await fit_gently(again, form))[0]


async def fit_gently(reply: AIMessage, form: AnswerForm) -> tuple[AIMessage, str | None]:
    """`fit` without holding other requests up."""
    if form.is_quick(reply.text):
        return fit(reply, form)
    return await run_giving_way(partial(fit, reply, form))


def enforces_schemas(model: DeferredChatModel) -> bool:
    """Whether the author says that the endpoint of the model holds itself to a schema, in LangChain's words."""
    profile = model.parameters.get("profile")
    return isinstance(profile, Mapping) and bool(profile.get("structured_output"))


def fit(reply: AIMessage, form: AnswerForm, *, pulse: Pulse = no_pulse) -> tuple[AIMessage, str | None]:
    """The reply without a code block around its JSON, and what is wrong with it, if something is."""
    try:
        text = form.read(reply.text, pulse=pulse)
    except Unfit as error:
        return reply, error.problem
    return (reply if text == reply.text else reply.model_copy(update={"content": text})), None


def early_end_of_model(reply: AIMessage) -> bool:
    """Whether the endpoint says that the model was cut off, so that another attempt would be, too."""
    return reply.response_metadata.get("finish_reason") == "length"


def with_client_tools(usable: ListedTools, client: ClientTools, *, keeps_own: bool = False) -> ListedTools:
    """The graph's tools and those of the client. With the choice `none`, the model gets no tools, unless the graph
    keeps its own.

    Raises:
        InvalidRequest: both have a tool of the same name.
    """
    if client.choice == "none":
        return usable if keeps_own else ListedTools((), usable.warnings)
    if not client:
        return usable
    for tool in usable.tools:
        if (name := tool_name_of(tool)) in client:
            raise taken_name(name)
    missing = [*client.missing.values(), *client.warnings] if client.servers else ()
    return ListedTools([*usable.tools, *client.schemas], [*usable.warnings, *missing])


def taken_name(name: str) -> InvalidRequest:
    """The error for a tool of the client whose name is that of a tool of the graph."""
    return InvalidRequest(
        f"`tools` has {name}, which is the name of a tool of the graph: rename yours, or choose another label for its "
        "server.",
        param="tools",
    )


def with_search(reply: AIMessage, search: str, messages: Sequence[BaseMessage]) -> AIMessage:
    """The message `reply` with a call of `search`. If it has none, the user's own words are the query."""
    question = next((one.text for one in reversed(messages) if isinstance(one, HumanMessage)), "").strip()
    if not question or any(call["name"] == search for call in reply.tool_calls):
        return reply
    added = tool_call(name=search, args={"query": question[:MOST_QUERY]}, id=f"call_{uuid4().hex}")
    # The text of a message without calls is an answer from memory, so it is dropped.
    content = reply.content if reply.tool_calls else ""
    return reply.model_copy(update={"content": content, "tool_calls": [*reply.tool_calls, added]})


def _with_warnings(prompt: str, usable: ListedTools) -> str:
    return "\n\n".join([prompt, *usable.warnings])


def _evidence(
    messages: Sequence[BaseMessage], results: Sequence[ToolMessage], sources: Sequence[Source], role: str
) -> Evidence | None:
    """The question and the passages of a turn that only searched, and found something."""
    # The results of other tools are not passages, and may answer the question alone.
    if not results or not all(PASSAGES in result.additional_kwargs for result in results):
        return None
    if all(result.content == EMPTY_SEARCH for result in results):
        return None
    asked = max((place for place, message in enumerate(messages) if isinstance(message, HumanMessage)), default=None)
    if asked is None:
        return None
    passages = "\n\n".join(str(result.content) for result in results)
    by_number = {source.number: source for source in sources}
    shown = [by_number[number] for number in map(int, NUMBERED.findall(passages)) if number in by_number]
    return Evidence(
        question=messages[asked].text,
        passages=passages,
        earlier=messages[:asked],
        role=role,
        best_score=max((one.score for one in shown if one.score is not None), default=None),
        closest=next(iter(shown), None),
    )


async def _worth_answering(
    results: Sequence[ToolMessage], evidence: Evidence | None, check: AnswerCheck | None
) -> bool:
    """False if the turn only had searches, and they found nothing that answers the question."""
    if results and all(result.content == EMPTY_SEARCH for result in results):
        return False
    return check is None or evidence is None or await check.is_answerable(evidence)


def _is_enough(messages: Sequence[BaseMessage], usable: ListedTools, client: ClientTools) -> bool:
    """Whether passages and question are all that the answer needs: nobody has said more that must be heeded."""
    if client or client.choice != "auto" or usable.warnings:
        return False
    if any(isinstance(one, SystemMessage) or is_summary(one) for one in messages):
        return False
    question = next(one for one in reversed(messages) if isinstance(one, HumanMessage))
    return isinstance(question.content, str)


def requested_nodes(
    retrieval: str,
) -> Callable[[NodeState], list[Literal["retriever", "tools", "__end__"]]]:
    """A router to the nodes for the planner's calls, to both of them if it made both kinds, or to the end.

    `retrieval` is the name of the search tool.
    """

    @quick
    def next_nodes(state: NodeState) -> list[Literal["retriever", "tools", "__end__"]]:
        names = {call["name"] for call in requested_calls(state["messages"])}
        wanted: list[Literal["retriever", "tools", "__end__"]] = []
        if retrieval in names:
            wanted.append("retriever")
        if names - {retrieval}:
            wanted.append("tools")
        return wanted or ["__end__"]

    return next_nodes


def requested_calls(messages: Sequence[BaseMessage]) -> list[Any]:
    """The tool calls of the planner's last message, without those that the client runs."""
    last = messages[-1] if messages else None
    if not isinstance(last, AIMessage):
        return []
    of_client = client_calls_of(last)
    return [call for call in last.tool_calls if call not in of_client] if of_client else list(last.tool_calls)


def results_of_turn(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """The results of tools and searches since the last question."""
    results: list[ToolMessage] = []
    for message in reversed(messages):
        if isinstance(message, HumanMessage):
            break
        if isinstance(message, ToolMessage):
            results.append(message)
    return results


def answer_update(
    reply: AIMessage, sources: Sequence[Source], *, cites: bool, results: Sequence[ToolMessage] = ()
) -> dict[str, Any]:
    """The update of a node whose message `reply` is the answer: annotations for its citations, and the sources.

    `results` are those of the turn. What a tool answered is not credited to a passage.
    """
    of_tools = [result.text for result in results if PASSAGES not in result.additional_kwargs]
    return _update(reply, sources, citations_in(reply.text, sources, of_tools) if cites else [])


def _declining_update(
    no_answer_text: str, closest_text: str | None, closest: Source | None, sources: Sequence[Source]
) -> dict[str, Any]:
    """The update of a node that answers with `no_answer_text`, and says which passage is closest to the question."""
    if closest_text is None or closest is None:
        return _update(AIMessage(no_answer_text), sources, [])
    # A title comes from a document, which cannot cite.
    title = short(" ".join(without_markers(closest.title).split()), LONGEST_TITLE)
    before, _, after = closest_text.partition(PASSAGE)
    before, marker = f"{no_answer_text} {before}{title} ", f"[{closest.number}]"
    citation = Citation(closest, len(before), len(before) + len(marker))
    return _update(AIMessage(f"{before}{marker}{after}"), sources, [citation])


def _update(reply: AIMessage, sources: Sequence[Source], citations: Sequence[Citation]) -> dict[str, Any]:
    text = reply.text
    annotations = [citation.annotation() for citation in citations]
    support: dict[int, float] = {}
    for citation in citations:
        number = citation.source.number
        support[number] = min(support.get(number, 1.0), held(citation, text))
    listed = [_listed(source, support=support.get(source.number)) for source in sources]
    if annotations:
        block = {"type": "text", "text": text, "annotations": annotations}
        reply = reply.model_copy(update={"content": [block]})
    return {"messages": [reply], "custom_outputs": {"sources": listed}}


def _listed(source: Source, *, support: float | None) -> dict[str, Any]:
    """`support` is what the passage holds of the sentences that cite it; `None` if none does."""
    fields = {
        "number": source.number,
        "doc_uri": source.doc_uri,
        "chunk_id": source.chunk_id,
        "title": source.title,
        "score": source.score,
        "cited": support is not None,
    }
    if source.also_in:
        fields["also_in"] = list(source.also_in)
    if support is not None:
        fields["support"] = round(support, 2)
        # Not of the others: each response is stored with its sources. Redacted before it is cut, so that no beginning
        # of a secret is left.
        fields["text"] = redact(source.text[: 2 * MOST_PASSAGE])[:MOST_PASSAGE]
    return fields
