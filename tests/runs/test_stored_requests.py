"""Requests that are recorded as text, so that another process can run them."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from tests.protocol.test_messages import broken_histories
from tests.test_redaction_values import longest_wait

from graph_agent.answer_form import AnswerForm
from graph_agent.client_tools import ClientTool, ToolFilter, ToolServer
from graph_agent.errors import InvalidRequest, RequestUnreadable
from graph_agent.identity.caller import Caller
from graph_agent.identity.user_token import UserToken, with_user_token
from graph_agent.protocol.approvals import Approval, Decision
from graph_agent.protocol.dialects import DIALECTS, OPENAI
from graph_agent.protocol.events import ResponseHead, StoredHead
from graph_agent.protocol.fingerprints import Fingerprints, Texts
from graph_agent.protocol.messages import check_items, messages_of
from graph_agent.protocol.requests import Invocation
from graph_agent.runs.request import Answers, RunRequest, Turn
from graph_agent.runs.stored_requests import VERSION, dump_request, is_recorded, load_request
from graph_agent.stores.records import Continuation, GivenDecision, GivenFeedback, StoredResponse, Waiting

pytestmark = pytest.mark.anyio

HALVES = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF, categories=["Cs"])
TEXT = st.text(st.characters(codec="utf-8") | st.just("\0") | st.sampled_from("\u2028\x85😀"), max_size=20) | HALVES
NUMBERS = st.integers(-(10**400), 10**400) | st.floats(allow_nan=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)
STRINGS = st.dictionaries(TEXT, TEXT, max_size=3)
COUNTS = st.none() | st.integers(1, 10**30)
SECONDS = st.floats(0, 1e12)
MAYBE = st.none() | TEXT
KINDS = st.sampled_from(["approve", "edit", "reject", "respond"])

FINGERPRINTS = st.builds(Fingerprints, whole=TEXT, answers=TEXT)
DECISIONS = st.builds(Decision, kind=KINDS, arguments=st.none() | OBJECTS, text=JSON)
APPROVALS = st.builds(
    Approval,
    id=TEXT,
    interrupt=TEXT,
    place=st.integers(0, 9),
    form=st.sampled_from(["batch", "call", "question"]),
    name=TEXT,
    arguments=TEXT,
    allowed=st.lists(KINDS).map(tuple),
    call=MAYBE,
    schema=st.none() | OBJECTS,
)
WAITING = st.builds(Waiting, approvals=st.lists(OBJECTS, max_size=2), unread=st.booleans())
ITEMS = st.lists(OBJECTS, max_size=3)
RESPONSES = st.builds(
    StoredResponse,
    id=TEXT,
    conversation=TEXT,
    thread=TEXT,
    parent=MAYBE,
    checkpoint=MAYBE,
    kind=st.just("response"),
    graph=TEXT,
    family=st.sampled_from(["openai", "databricks"]),
    status=st.sampled_from(["completed", "queued"]),
    created_at=SECONDS,
    input=ITEMS,
    response=st.none() | OBJECTS,
    fingerprints=st.none() | FINGERPRINTS,
    messages=STRINGS,
    waiting=st.none() | WAITING,
)
TURNS = st.builds(
    Turn,
    continuation=st.builds(
        Continuation,
        conversation=TEXT,
        thread=TEXT,
        parent=MAYBE,
        checkpoint=MAYBE,
        is_new=st.booleans(),
        at_head=st.booleans(),
    ),
    items=ITEMS,
    texts=st.builds(Texts, before=st.none() | FINGERPRINTS, segment=st.none() | st.lists(TEXT, max_size=3).map(tuple)),
    unfinished=STRINGS,
    inferred=st.booleans(),
    title=MAYBE,
    answers=st.none()
    | st.builds(
        Answers,
        waiting=st.lists(APPROVALS, max_size=2),
        decisions=st.dictionaries(TEXT, DECISIONS, max_size=2),
        resume=OBJECTS,
        given=st.lists(st.builds(GivenDecision, approval=TEXT, decision=OBJECTS, used=st.booleans()), max_size=2),
    ),
    sent_calls=STRINGS,
    replaces=st.booleans(),
    goes_on=st.booleans(),
    steers=st.lists(TEXT, max_size=2).map(tuple),
    repeats=st.none() | RESPONSES,
)
CLIENT_TOOLS = st.builds(
    ClientTool,
    name=TEXT,
    kind=st.sampled_from(["function", "custom"]),
    namespace=MAYBE,
    description=TEXT,
    parameters=OBJECTS,
    strict=st.none() | st.booleans(),
)
ANSWER_FORMS = st.builds(
    AnswerForm,
    kind=st.sampled_from(["json_object", "json_schema"]),
    name=TEXT,
    schema=OBJECTS,
    description=MAYBE,
    strict=st.none() | st.booleans(),
)
HEADS = st.builds(
    ResponseHead,
    model=TEXT,
    id=TEXT,
    created_at=st.integers(0, 10**12),
    metadata=STRINGS,
    said=OBJECTS,
    pending_usage=st.booleans(),
    warnings=st.lists(TEXT, max_size=2).map(tuple),
    background=st.booleans(),
    stored=st.none() | st.builds(StoredHead, conversation=TEXT, previous=MAYBE, has_field=st.booleans()),
)


@st.composite
def messages(draw: st.DrawFn) -> list[Any]:
    """Messages as a request's items become them: with images, files, calls, results, reasoning and what is kept."""
    try:
        return messages_of(check_items(draw(broken_histories())))
    except InvalidRequest:
        return [HumanMessage(draw(TEXT), id="msg_1")]


def invocations() -> st.SearchStrategy[Invocation]:
    return st.builds(
        Invocation,
        graph=MAYBE,
        messages=messages(),
        thread=MAYBE,
        mode=st.sampled_from(["stream", "reply"]),
        custom_inputs=OBJECTS,
        metadata=STRINGS,
        max_output_tokens=COUNTS,
        max_tool_calls=COUNTS,
        client_request_id=MAYBE,
        said=OBJECTS,
        items=st.just(()) | st.lists(OBJECTS, min_size=1, max_size=3),
        instructions=MAYBE,
        stored=st.booleans(),
        previous_response_id=MAYBE,
        conversation=MAYBE,
        return_trace=st.booleans(),
        background=st.booleans(),
        from_beginning=st.booleans(),
        steps=st.booleans(),
        tools=st.lists(CLIENT_TOOLS, max_size=2).map(tuple),
        tool_choice=TEXT,
        options=OBJECTS,
        answer_form=st.none() | ANSWER_FORMS,
        warnings=st.lists(TEXT, max_size=2).map(tuple),
    )


REQUESTS = st.builds(
    RunRequest,
    invocation=invocations(),
    dialect=st.sampled_from(list(DIALECTS.values())),
    owner=st.builds(Caller, TEXT, MAYBE, st.sampled_from(["local", "front_end", "apps"])),
    accepted_at=SECONDS,
    turn=st.none() | TURNS,
    key=MAYBE,
    digest=MAYBE,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS, HEADS)
async def test_a_request_that_is_read_again_is_the_same(request: RunRequest, head: ResponseHead) -> None:
    text = await dump_request(request, head)
    assert await load_request(text) == (request, head)
    # A column of text takes it.
    assert "\0" not in text
    text.encode()


def a_request(**of_turn: Any) -> RunRequest:
    """With a value in every field."""
    call = {"name": "look", "args": {"at": "the sea"}, "id": "call_1", "type": "tool_call"}
    said = [
        SystemMessage("Be brief.", id="msg_1"),
        HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}], id="msg_2"),
        AIMessage("", tool_calls=[call], id="msg_3"),
        ToolMessage("Waves.", tool_call_id="call_1", name="look", status="error", id="fco_1"),
    ]
    approval = Approval(
        id="mcpr_1",
        interrupt="i",
        place=1,
        form="call",
        name="look",
        arguments="{}",
        allowed=("edit",),
        call="call_1",
        schema={"type": "object"},
        server="sea",
        tool="look",
    )
    decision = Decision(kind="edit", arguments={"at": "the sky"}, text="why")
    item = {"type": "message", "role": "user", "content": "Look.", "id": "msg_2"}
    prints = Fingerprints(whole="aa", answers="bb")
    turn = Turn(
        **{
            "continuation": Continuation(
                conversation="conv_1", thread="t", parent="resp_0", checkpoint="c", is_new=True, at_head=True
            ),
            "items": [item],
            "texts": Texts(before=prints, segment=("Waves.",)),
            "unfinished": {"msg_0": "I was"},
            "inferred": True,
            "title": "Look",
            "answers": Answers(
                waiting=[approval],
                decisions={"mcpr_1": decision},
                resume={"i": {"type": "edit"}},
                given=[GivenDecision(approval="mcpr_1", decision=decision.fields(), used=True)],
            ),
            "sent_calls": {"call_1": "look"},
            "replaces": True,
            "goes_on": True,
            "steers": ("steer_1",),
            "repeats": StoredResponse(
                id="resp_0",
                conversation="conv_1",
                thread="t",
                parent="resp_9",
                checkpoint="c",
                kind="response",
                graph="agent",
                family="openai",
                status="completed",
                created_at=1.5,
                input=[item],
                response={"id": "resp_0"},
                fingerprints=prints,
                messages={"msg_5": "run--1"},
                waiting=Waiting(approvals=[{**approval.fields(), "allowed": ["edit"]}], unread=True),
                trace="tr-1",
                feedback={"user_feedback": GivenFeedback(value=True, assessment="a-1")},
                steers=2,
            ),
        }
        | of_turn
    )
    invocation = Invocation(
        graph="agent",
        messages=said,
        thread="conv_1",
        mode="stream",
        custom_inputs={"depth": 3},
        metadata={"team": "sea"},
        max_output_tokens=100,
        max_tool_calls=5,
        client_request_id="r-1",
        said={"user": "ann"},
        items=[item],
        instructions="Be brief.",
        stored=True,
        previous_response_id="resp_0",
        conversation="conv_1",
        return_trace=True,
        background=True,
        awaited=True,
        from_beginning=True,
        steps=True,
        tools=(
            ClientTool(
                name="find",
                kind="custom",
                namespace="crm",
                description="Find.",
                parameters={"type": "object"},
                strict=True,
            ),
        ),
        servers=(
            ToolServer(
                label="sea",
                url="https://mcp.example.com/sea",
                description="The sea.",
                allowed=ToolFilter(names=("look",), read_only=True),
                chosen=("look",),
                must="look",
                always=ToolFilter(names=("look",), read_only=False),
                never=ToolFilter(names=("listen",), read_only=True),
            ),
        ),
        listed=("sea",),
        tool_choice="crm__find",
        options={"temperature": 0.5},
        answer_form=AnswerForm(
            kind="json_schema", name="city", schema={"type": "object"}, description="A city.", strict=True
        ),
        warnings=("The tool web_search was left out.",),
        compact_threshold=4000,
        digest="bb",
    )
    return RunRequest(
        invocation=invocation,
        dialect=OPENAI,
        owner=Caller("ann", "ann@example.com", "apps"),
        accepted_at=2.5,
        turn=turn,
        key="key-1",
        digest="cc",
    )


HEAD = ResponseHead(
    model="agent",
    id="resp_1",
    created_at=3,
    metadata={"team": "sea"},
    said={"user": "ann"},
    pending_usage=True,
    warnings=("The tool web_search was left out.",),
    background=True,
    stored=StoredHead(conversation="conv_1", previous="resp_0", has_field=True),
)

RECORDED = Path(__file__).parent / "recorded"


def _defaults(one: Any) -> list[str]:
    """The fields that have their default, in this data class and in all inside it."""
    found = []
    for field in filter(is_recorded, dataclasses.fields(one)):
        value = getattr(one, field.name)
        if value == field.default:
            found.append(f"{type(one).__name__}.{field.name}")
        inner = [value, *value] if isinstance(value, list | tuple) else [value]
        found += [name for each in inner if dataclasses.is_dataclass(each) for name in _defaults(each)]
    return found


@pytest.mark.parametrize("version", range(1, VERSION + 1))
async def test_what_each_version_has_recorded_is_read(version: int) -> None:
    text = (RECORDED / f"request_{version}.json").read_text()
    head = HEAD if version > 3 else dataclasses.replace(HEAD, warnings=())
    assert await load_request(text) == (_of_version(version), head)


def _of_version(version: int) -> RunRequest:
    """The request with the fields that a version knew."""
    request = a_request() if version > 6 else _before_7(a_request())
    if version < 6:
        request = _before_6(request)
    if version < 5:
        request = _before_5(request)
    if version < 4:
        invocation = dataclasses.replace(
            request.invocation, tools=(), tool_choice="auto", options={}, answer_form=None, warnings=()
        )
        request = dataclasses.replace(request, invocation=invocation)
    if version < 3:
        request = _before_3(request)
    return _before_2(request) if version < 2 else request


def _before_7(request: RunRequest) -> RunRequest:
    """Without the fields that the seventh version has added."""
    return dataclasses.replace(request, invocation=dataclasses.replace(request.invocation, listed=()))


def _before_6(request: RunRequest) -> RunRequest:
    """Without the fields that the sixth version has added."""
    turn = request.turn
    assert turn is not None
    assert turn.answers is not None
    assert turn.repeats is not None
    assert turn.repeats.waiting is not None
    [approval], [waiting] = turn.answers.waiting, turn.repeats.waiting.approvals
    known = {name: value for name, value in waiting.items() if name not in ("server", "tool")}
    repeats = dataclasses.replace(turn.repeats, waiting=dataclasses.replace(turn.repeats.waiting, approvals=[known]))
    answers = dataclasses.replace(turn.answers, waiting=[dataclasses.replace(approval, server=None, tool=None)])
    return dataclasses.replace(
        request,
        invocation=dataclasses.replace(request.invocation, servers=()),
        turn=dataclasses.replace(turn, answers=answers, repeats=repeats),
    )


def _before_5(request: RunRequest) -> RunRequest:
    """Without the fields that the fifth version has added."""
    turn = request.turn
    assert turn is not None
    assert turn.repeats is not None
    repeats = dataclasses.replace(turn.repeats, steers=0)
    return dataclasses.replace(
        request,
        invocation=dataclasses.replace(request.invocation, compact_threshold=None),
        turn=dataclasses.replace(turn, replaces=False, goes_on=False, steers=(), repeats=repeats),
    )


def _before_3(request: RunRequest) -> RunRequest:
    """Without the fields that the third version has added."""
    assert request.turn is not None
    assert request.turn.repeats is not None
    repeats = dataclasses.replace(request.turn.repeats, trace=None, feedback={})
    return dataclasses.replace(request, turn=dataclasses.replace(request.turn, repeats=repeats))


def _before_2(request: RunRequest) -> RunRequest:
    """Without the fields that the second version has added."""
    turn = request.turn
    assert turn is not None
    assert turn.answers is not None
    assert turn.repeats is not None
    assert turn.repeats.waiting is not None
    [approval], [waiting] = turn.answers.waiting, turn.repeats.waiting.approvals
    known = {name: value for name, value in waiting.items() if name != "schema"}
    repeats = dataclasses.replace(turn.repeats, waiting=dataclasses.replace(turn.repeats.waiting, approvals=[known]))
    answers = dataclasses.replace(turn.answers, waiting=[dataclasses.replace(approval, schema=None)])
    return dataclasses.replace(
        request,
        invocation=dataclasses.replace(request.invocation, steps=False, from_beginning=False),
        turn=dataclasses.replace(turn, answers=answers, repeats=repeats),
    )


async def test_the_fields_that_are_recorded_are_those_of_the_version() -> None:
    """If this fails, a field was added: raise `VERSION`, and keep a recording of it beside the ones before."""
    assert [*_defaults(a_request()), *_defaults(HEAD)] == []
    text = (RECORDED / f"request_{VERSION}.json").read_text()
    assert json.loads(await dump_request(a_request(), HEAD)) == json.loads(text)


async def test_a_request_of_a_newer_version_says_what_to_run() -> None:
    value = json.loads(await dump_request(a_request(), HEAD))
    newer = json.dumps({**value, "version": VERSION + 1, "request": {"what": "nobody knows yet"}})
    with pytest.raises(RequestUnreadable, match="newer version of graph-agent"):
        await load_request(newer)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"version": "1"}',
        '{"version": 1, "request": {}, "head": {}}',
        '{"version": 1, "request": null, "head": []}',
    ],
)
async def test_a_damaged_text_has_an_error_that_does_not_quote_it(text: str) -> None:
    with pytest.raises(RequestUnreadable, match="damaged: send it again") as caught:
        await load_request(text)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("field", ["invocation", "dialect", "owner", "turn"])
async def test_a_text_that_lacks_a_field_is_damaged(field: str) -> None:
    value = json.loads(await dump_request(a_request(), HEAD))
    del value["request"][field]
    with pytest.raises(RequestUnreadable):
        await load_request(json.dumps(value))


async def test_the_token_of_the_user_is_not_in_the_text() -> None:
    token = "dapi" + "0123456789abcdef" * 2
    with with_user_token(UserToken(token)):
        assert token not in await dump_request(a_request(), HEAD)


GREAT: dict[str, Callable[[], list[Any]]] = {
    "one long text": lambda: [HumanMessage("é \u2028 x" * 1_500_000, id="msg_1")],
    "one that must be escaped": lambda: [HumanMessage("\0\ud83d\n" * 1_500_000, id="msg_1")],
    "many messages": lambda: [HumanMessage(f"Question {number}?", id=f"msg_{number}") for number in range(10_000)],
    "many parts": lambda: [HumanMessage([{"type": "text", "text": "x"}] * 100_000, id="msg_1")],
    "many values in one part": lambda: [
        HumanMessage([{"type": "file", "file": dict.fromkeys(map(str, range(200_000)))}])
    ],
}
"""Made by the tests, because every process that collects them would make them."""


@pytest.mark.parametrize("name", GREAT)
async def test_megabytes_hold_nobody_else_up(name: str) -> None:
    request = dataclasses.replace(
        a_request(), invocation=dataclasses.replace(a_request().invocation, messages=GREAT[name]())
    )
    read: list[Any] = []

    async def there_and_back() -> None:
        read[:] = [await load_request(await dump_request(request, HEAD))]

    worst = await longest_wait(there_and_back, most=0.08)
    assert read == [(request, HEAD)]
    assert worst < 0.08, worst
