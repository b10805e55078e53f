"""Answers in the form that a request asks for: JSON, maybe with a schema."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from graph_agent import (
    AgentContext,
    AgentState,
    ClientToolsMiddleware,
    Settings,
    chat_model,
    create_app,
    make_planner,
    make_tools,
    requested_nodes,
    takes_answer_form,
)
from graph_agent.answer_form import MOST_STEPS, AnswerForm, Unfit
from graph_agent.testing import AgentClient, Call, FakeWorkspace, RequestRefused, ScriptedChatModel

pytestmark = pytest.mark.anyio

CITY = {
    "type": "json_schema",
    "name": "city",
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
        "required": ["name", "people"],
        "additionalProperties": False,
    },
    "strict": True,
}
ROME = '{"name": "Rome", "people": 2748109}'
OBJECT = {"type": "json_object"}


@tool
def look(at: str) -> str:
    """Look at something."""
    return f"saw {at}"


def planner(model: Any, **more: Any) -> Any:
    builder = StateGraph(AgentState, context_schema=AgentContext)
    builder.add_node("planner", make_planner(model=model, tools=[look], prompt="Help.", **more))
    builder.add_node("tools", make_tools([look]))
    builder.add_edge(START, "planner").add_edge("tools", "planner")
    return builder.add_conditional_edges("planner", requested_nodes("none"), ["tools", END]).compile()


def agent(model: Any) -> Any:
    return create_agent(model, [look], system_prompt="Help.", middleware=[ClientToolsMiddleware()])


GRAPHS = pytest.mark.parametrize("make", [planner, agent])
ADDRESSES = pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/invocations"])


class Asking:
    """A client of one graph whose model says what the test has written."""

    def __init__(self, http: AgentClient, model: Any, path: str) -> None:
        self.http, self.model, self.path = http, model, path

    async def ask(self, form: Any, **fields: Any) -> dict[str, Any]:
        return await self.http.ask({"input": "Rome?", "text": {"format": form}} | fields, path=self.path)

    async def events(self, form: Any) -> list[dict[str, Any]]:
        return [one async for one in self.http.stream({"input": "Rome?", "text": {"format": form}}, path=self.path)]


@asynccontextmanager
async def asking(make: Callable[..., Any], *replies: Any, path: str = "/v1/responses") -> AsyncIterator[Asking]:
    model = ScriptedChatModel(*replies)
    app = create_app(Settings(tracing="off", store="memory"), {"a": make(model)}, environ={})
    async with AgentClient(app) as http:
        yield Asking(http, model, path)


def messages(response: dict[str, Any]) -> list[str]:
    return [one["content"][0]["text"] for one in response["output"] if one["type"] == "message"]


@GRAPHS
@ADDRESSES
async def test_an_answer_that_fits_is_the_only_message(make: Any, path: str) -> None:
    async with asking(make, ["Let me look.", Call("look", {"at": "it"})], ROME, path=path) as client:
        response = await client.ask(CITY)
        assert messages(response) == [ROME]
        assert response["text"]["format"] == {**CITY, "description": None}
        thoughts = [one["summary"][0]["text"] for one in response["output"] if one["type"] == "reasoning"]
        assert thoughts == ["Let me look."]
        assert all('"people"' in one.texts[0] for one in client.model.requests)


@GRAPHS
async def test_a_stream_has_no_text_but_the_answer(make: Any) -> None:
    async with asking(
        make, ["Let me look.", Call("look", {"at": "it"})], ["{", '"name": "Rome", "people": 1}']
    ) as client:
        events = await client.events(CITY)
        said = "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta")
        assert json.loads(said) == {"name": "Rome", "people": 1}


@GRAPHS
@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ("Rome has many.", "it is not JSON"),
        ('{"name": "Rome"}', "the answer lacks people"),
        ('{"name": "Rome", "people": "many"}', "/people does not fit `type`"),
        ('{"name": "Rome", "people": 1, "x": 1}', "the answer does not fit `additionalProperties`"),
        ('{"name": "Rome", "people": NaN}', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
    ],
)
async def test_an_answer_that_does_not_fit_is_asked_for_once_more(make: Any, wrong: str, problem: str) -> None:
    async with asking(make, wrong, f"```json\n{ROME}\n```") as client:
        response = await client.ask(CITY)
        assert messages(response) == [ROME]
        assert response["status"] == "completed"
        last = client.model.requests[-1].messages
        assert [one.type for one in last] == ["system", "human", "ai", "human"]
        assert problem in last[-1].text


@GRAPHS
@ADDRESSES
async def test_an_answer_that_still_does_not_fit_is_a_typed_failure(make: Any, path: str) -> None:
    async with asking(make, "Rome.", "Rome!", path=path) as client:
        with pytest.raises(RequestRefused) as caught:
            await client.ask(CITY)
        assert (caught.value.status, caught.value.body["error"]["code"]) == (502, "answer_unfit")
        assert len(client.model.requests) == 2


async def test_a_stream_that_fails_has_told_no_answer() -> None:
    async with asking(planner, "Rome.", "Rome!") as client:
        events = await client.events(CITY)
        assert events[-1]["response"]["error"]["code"] == "answer_unfit"
        assert not [one for one in events if "output_text" in one["type"]]


@GRAPHS
async def test_a_list_of_numbers_is_not_taken_for_citations(make: Any) -> None:
    async with asking(make, '{"a": [1], "b": [ 2, 3 ]}') as client:
        assert messages(await client.ask(OBJECT)) == ['{"a": [1], "b": [ 2, 3 ]}']


@GRAPHS
async def test_any_json_object_will_do_without_a_schema(make: Any) -> None:
    async with asking(make, "[1]", '{"a": 1}') as client:
        assert messages(await client.ask(OBJECT)) == ['{"a": 1}']


async def test_a_fixed_answer_does_not_stand_for_one_with_a_schema() -> None:
    async with asking(lambda model: planner(model, no_answer_text="Nothing."), ROME) as client:
        assert messages(await client.ask(CITY)) == [ROME]


async def test_a_call_of_the_client_needs_no_form() -> None:
    tools = [{"type": "function", "name": "weather"}]
    async with asking(planner, ["Hm.", Call("weather", {}, id="c1")], ROME) as client:
        first = await client.ask(CITY, tools=tools)
        assert [one["type"] for one in first["output"]] == ["reasoning", "function_call"]
        answer = [{"type": "function_call_output", "call_id": "c1", "output": "sunny"}]
        assert messages(await client.ask(CITY, input=answer, previous_response_id=first["id"])) == [ROME]


async def test_a_graph_that_answers_as_it_likes_says_how_it_could_answer_in_a_form() -> None:
    async with asking(lambda model: create_agent(model, [look]), "Rome.") as client:
        with pytest.raises(RequestRefused) as caught:
            await client.ask(CITY)
        error = caught.value.body["error"]
        assert (caught.value.status, error["param"], error["code"]) == (400, "text.format", "unsupported_field")
        assert "ClientToolsMiddleware" in error["message"]


async def test_a_node_of_ones_own_finds_the_form_in_its_context() -> None:
    def own(model: Any) -> Any:
        async def answer(state: AgentState, runtime: Runtime[AgentContext]) -> dict[str, Any]:
            form = runtime.context.answer_form
            assert form is not None
            assert form.response_format["json_schema"]["name"] == "city"
            return {"messages": [await model.ainvoke(state["messages"])]}

        builder = StateGraph(AgentState, context_schema=AgentContext).add_node("answer", takes_answer_form(answer))
        return builder.add_edge(START, "answer").add_edge("answer", END).compile()

    async with asking(own, ROME, "Rome.") as client:
        assert messages(await client.ask(CITY)) == [ROME]
        with pytest.raises(RequestRefused, match="answer_unfit"):
            await client.ask(CITY)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWorkspace]:
    with FakeWorkspace(ROME, each_turn=True) as workspace:
        for name, value in workspace.environment().items():
            monkeypatch.setenv(name, value)
        yield workspace


async def test_the_endpoint_gets_the_schema_where_no_tools_stand_beside_it(workspace: FakeWorkspace) -> None:
    model = chat_model("databricks:m")
    plain = StateGraph(AgentState).add_node("planner", make_planner(model=model, tools=[], prompt="Help."))
    graphs = {
        "plain": plain.add_edge(START, "planner").add_edge("planner", END).compile(),
        "agent": create_agent(model, [], middleware=[ClientToolsMiddleware()]),
        "tools": planner(model),
    }
    app = create_app(Settings.from_environment(tracing="off", store="memory"), graphs)
    async with AgentClient(app) as client:
        for name in graphs:
            body = {"model": name, "input": "Rome?", "text": {"format": CITY}}
            assert messages(await client.ask(body, path="/v1/responses")) == [ROME]
    sent = {"type": "json_schema", "json_schema": {key: CITY[key] for key in ("name", "schema", "strict")}}
    assert [body.get("response_format") for body in workspace.chats] == [sent, sent, None]


async def test_the_answer_of_an_endpoint_that_enforces_schemas_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_model("databricks:m", profile={"structured_output": True})
    builder = StateGraph(AgentState).add_node("planner", make_planner(model=model, tools=[], prompt="Help."))
    graph = builder.add_edge(START, "planner").add_edge("planner", END).compile()
    pieces = ['{"name": ', '"Rome", ', '"people": 3}']
    with FakeWorkspace(pieces, ['{"name": ', '"Rome"}']) as workspace:
        for name, value in workspace.environment().items():
            monkeypatch.setenv(name, value)
        app = create_app(Settings.from_environment(tracing="off", store="memory"), {"a": graph})
        async with AgentClient(app) as client:
            body = {"input": "Rome?", "text": {"format": CITY}}
            fitting = [one async for one in client.stream(body, path="/v1/responses")]
            wrong = [one async for one in client.stream(body, path="/v1/responses")]
    assert [one["delta"] for one in fitting if one["type"] == "response.output_text.delta"] == pieces
    assert messages(fitting[-1]["response"]) == ["".join(pieces)]
    assert wrong[-1]["response"]["error"]["code"] == "answer_unfit"
    assert len(workspace.chats) == 2


# -- hostile schemas ------------------------------------------------------------------------------------------------


def form_of(schema: Any) -> AnswerForm:
    return AnswerForm(kind="json_schema", schema=schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {
            "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(12)} | {"d12": {}},
            "$ref": "#/$defs/d0",
        },
    ],
)
def test_a_schema_that_takes_for_ever_is_given_up(schema: Any) -> None:
    with pytest.raises(Unfit, match="takes too long"):
        form_of(schema).check("{}")


@GRAPHS
async def test_a_check_that_takes_long_holds_nobody_else_up(make: Any) -> None:
    steps = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 4} for n in range(12)}
    bomb = {"type": "json_schema", "name": "s", "schema": {"$defs": steps | {"d12": {}}, "$ref": "#/$defs/d0"}}
    async with asking(make, "{}", "{}") as client:
        hostile = asyncio.ensure_future(client.ask(bomb))
        others = 0
        while not hostile.done():
            assert (await client.http.get("/health")).status_code == 200
            others += 1
        with pytest.raises(RequestRefused, match="answer_unfit"):
            await hostile
        assert others > 10


def test_a_long_list_is_compared_within_the_bound() -> None:
    form_of({"type": "array", "uniqueItems": True}).check(json.dumps(list(range(50_000))))
    with pytest.raises(Unfit, match="uniqueItems"):
        form_of({"uniqueItems": True}).check("[1, 2, 1]")
    with pytest.raises(Unfit, match="takes too long"):
        form_of({"items": {"type": "integer", "minimum": 0}}).check(json.dumps([1] * (MOST_STEPS // 2)))


DIGITS = json.dumps([0] * 20_000)
MEMBERS = json.dumps({str(n): 0 for n in range(8_000)})
NESTED = [[0] * 10_000]


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"allOf": [{"items": {}}] * 5_000}, DIGITS),
        ({"allOf": [{"items": True}] * 4_000}, DIGITS),
        ({"allOf": [{"uniqueItems": True}] * 3_000}, json.dumps(list(range(9_000)))),
        ({"allOf": [{"contains": {}}] * 4_000}, DIGITS),
        ({"allOf": [{"additionalProperties": {}}] * 2_000}, MEMBERS),
        ({"allOf": [{"propertyNames": {}}] * 3_000}, MEMBERS),
        # Each message of the library quotes the whole answer, and all of them are kept.
        ({"anyOf": [{"type": "string"}] * 3_000}, DIGITS),
        ({"$defs": {"a": {"enum": [NESTED]}}, "allOf": [{"$ref": "#/$defs/a"}] * 2_000}, json.dumps(NESTED)),
    ],
)
def test_a_small_schema_does_not_go_over_a_long_answer_again_and_again(
    schema: Any, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph_agent.answer_form.MOST_STEPS", MOST_STEPS // 5)
    with pytest.raises(Unfit, match="takes too long"):
        form_of(schema).check(answer)


@pytest.mark.parametrize(
    ("schema", "answer"),
    [({"multipleOf": 0.5}, "1" + "0" * 4_000), ({"multipleOf": 0.5}, "1e999"), ({"$ref": "https://a.example"}, "1")],
)
def test_an_answer_that_cannot_be_compared_does_not_fit(schema: Any, answer: str) -> None:
    with pytest.raises(Unfit, match="cannot be compared"):
        form_of(schema).check(answer)


def test_a_pattern_is_not_run() -> None:
    form_of({"type": "string", "pattern": "^(a+)+$"}).check(json.dumps("a" * 40 + "b"))


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"$ref": "https://example.com/schema"}, "$ref"),
        # Of what is no schema, nothing was checked: it may name an address or a regular expression.
        ({"$ref": "#/x", "x": {"$ref": "https://example.com/schema"}}, "$ref"),
        ({"$ref": "#/anyOf/0/const", "anyOf": [{"const": {"patternProperties": {"(a+)+$": {}}}}]}, "$ref"),
        ({"$ref": f"#/allOf/{'9' * 5_000}", "allOf": [{}]}, "$ref"),
        ({"properties": {"a": {"$ref": "#/$defs/no"}}}, "properties.a.$ref"),
        ({"properties": {"a": {"patternProperties": {"(a+)+": {}}}}}, "properties.a.patternProperties"),
        ({"items": {"$id": "other"}}, "items.$id"),
        ({"anyOf": [{"type": "text"}]}, "anyOf[0].type"),
        ({"anyOf": {}}, "anyOf"),
        ({"properties": []}, "properties"),
        ({"multipleOf": 0}, "multipleOf"),
        ({"required": "name"}, "required"),
        ({"minLength": "1"}, "minLength"),
        ({"description": "x" * 70_000}, ""),
    ],
)
async def test_a_schema_that_cannot_be_used_is_refused_with_its_path(schema: Any, place: str) -> None:
    async with asking(planner, ROME) as client:
        with pytest.raises(RequestRefused) as caught:
            await client.ask({"type": "json_schema", "name": "s", "schema": schema})
        path = f"text.format.schema.{place}".rstrip(".")
        assert (caught.value.status, caught.value.body["error"]["param"]) == (400, path)


@pytest.mark.parametrize("name", ["two words", "x" * 65])
async def test_a_name_that_no_endpoint_takes_is_refused(name: str) -> None:
    async with asking(planner, ROME) as client:
        with pytest.raises(RequestRefused) as caught:
            await client.ask({"type": "json_schema", "name": name, "schema": {}})
    assert caught.value.body["error"]["param"] == "text.format.name"


async def test_a_pattern_is_named_in_a_warning() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "x",
        "properties": {"pattern": {"pattern": "^R"}},
    }
    async with asking(planner, "{}") as client:
        response = await client.ask({"type": "json_schema", "name": "s", "schema": schema})
        [warning] = response["custom_outputs"]["warnings"]
        assert "`pattern`" in warning
