"""The scripted model answers from what it is shown, so that a broken agent shows in its answers."""

import socket
from pathlib import Path
from typing import Any

import pytest
from evals.scripted.reading import Passage, quoted, wish
from evals.scripted.rules import in_context, reply

from graph_agent.evaluating.command import main
from graph_agent.evaluating.prompts import prompts_of, texts_of
from graph_agent.evaluating.targets import Target
from graph_agent.nodes.answerability import EVIDENCE, REQUEST
from graph_agent.testing import Call

TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"properties": {parameter: {}}}}}
    for name, parameter in (("search_docs", "query"), ("calculator", "expression"), ("convert_units", "from_unit"))
]
PASSAGES = "[1] Settings\n\nThe port is 8000. Dark mode is blue.\n\n[2] Budgets\n\nA budget bounds a run."


def said(*messages: dict[str, Any], tools: Any = TOOLS) -> str:
    pieces = reply({"messages": [{"role": "system", "content": "You answer."}, *messages], "tools": tools})
    return "".join(piece for piece in pieces if isinstance(piece, str))


def called(question: str) -> tuple[str, Any]:
    [call, _] = reply({"messages": [{"role": "user", "content": question}], "tools": TOOLS})
    assert isinstance(call, Call)
    return call.name, call.args


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "content": text}


def test_it_chooses_the_tool_that_has_what_the_question_names() -> None:
    assert called("What is 12 * (3 + 4)?") == ("calculator", {"expression": "12 * (3 + 4)"})
    assert called("Convert 5 miles to km.") == ("convert_units", {"value": 5.0, "from_unit": "miles", "to_unit": "km"})
    assert called("Which port is used?") == ("search_docs", {"query": "Which port is used?"})


@pytest.mark.parametrize("text", ["It answers 404.", "The limit of GRAPH_AGENT_MAX_RUNS", "on port 9000"])
def test_a_number_alone_is_no_arithmetic(text: str) -> None:
    assert wish(text) is None


def test_it_answers_with_the_passage_it_was_shown_and_cites_it() -> None:
    assert said(user("Which port is it?"), result(PASSAGES)) == "Settings The port is 8000. Dark mode is blue. [1]"
    assert said(user("What bounds a run?"), result(PASSAGES)) == "Budgets A budget bounds a run. [2]"
    # Other passages, another answer: it does not know the right one.
    assert said(user("Which port is it?"), result("[1] Cakes are sweet.")) == "Cakes are sweet. [1]"


def test_it_repeats_the_result_of_a_tool() -> None:
    assert said(user("What is 2 + 2?"), result("5")) == "5"


@pytest.mark.parametrize(("question", "word"), [("Which port?", "yes"), ("Who won the football World Cup?", "no")])
def test_it_says_whether_passages_answer_a_question(question: str, word: str) -> None:
    asked = f"{EVIDENCE.format(passages=PASSAGES, question=question)}{REQUEST}"
    assert said(user(asked), tools=None) == word


def test_a_question_that_says_little_is_read_with_the_one_before() -> None:
    assert in_context([user("What is a budget?"), user("And how long?")]) == "What is a budget? And how long?"
    long = "Which settings choose the model that runs locally?"
    assert in_context([user("What is a budget?"), user(long)]) == long


def test_nothing_of_the_question_is_better_than_nothing() -> None:
    assert quoted("Which port?", []) == ""
    assert quoted("Which port?", [Passage("3", "Cakes.")]) == "Cakes. [3]"


def test_the_prompts_of_a_graph_are_read_from_its_file() -> None:
    prompts = prompts_of(Path("langgraph.json"), "supervisor")
    assert any("You lead a small team" in prompt for prompt in prompts)
    assert any("You check whether documentation" in prompt for prompt in prompts)
    assert not any("{passages}" in prompt for prompt in prompts)
    # What is meant to be said is none.
    assert "The documents do not answer this." not in prompts_of(Path("langgraph.json"), None)


def test_a_text_that_is_passed_to_a_graph_as_an_answer_is_not_one_of_its_prompts() -> None:
    long = "I did not find this in the documents. Ask me about returns, delivery, or an order."

    def texts(use: str) -> list[str]:
        return texts_of(f"PROMPT = {long!r}\n{use}")

    assert texts("node = make_planner(no_answer_text=PROMPT)") == []
    assert texts("node = make_planner(prompt=PROMPT)") == [long]
    assert texts("node = make_planner(no_answer_text=PROMPT, prompt=PROMPT)") == [long]
    # Used in a way that says nothing, or not at all.
    assert texts("node = [SystemMessage(PROMPT)]\nother = make_planner(no_answer_text=PROMPT)") == [long]
    assert texts("") == [long]


def test_records_are_of_one_version_of_graph_and_documents(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text("{}")
    (tmp_path / "graphs").mkdir()
    before = Target(config=config).version()
    assert Target(config=config).version() == before
    (tmp_path / "graphs" / "mine.py").write_text("PROMPT = 'another'")
    assert Target(config=config).version() != before
    assert Target(config=config, url="http://elsewhere").version() == "http://elsewhere"


@pytest.mark.parametrize("chosen", [["--port", "PORT"], []], ids=["flag", "variable"])
def test_a_port_that_is_in_use_is_named_with_the_ways_to_choose_another(
    chosen: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("GRAPH_AGENT_CACHE_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        monkeypatch.setenv("GRAPH_AGENT_PORT", "1" if chosen else port)
        assert main(["serve", *(one.replace("PORT", port) for one in chosen)]) == 2
    said = capsys.readouterr().err
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in said
    assert "--port or GRAPH_AGENT_PORT" in said


def test_it_answers_a_follow_up_from_passages_alone_with_what_the_question_leans_on() -> None:
    role = "You answer.\n\nThe conversation before the question:\nUser: Which limit has a budget?\nAssistant: 5."
    asked = f"{EVIDENCE.format(passages=PASSAGES, question='And what bounds it?')}Use this to answer."
    messages = [{"role": "system", "content": role}, user(asked)]
    pieces = reply({"messages": messages})
    assert "".join(one for one in pieces if isinstance(one, str)) == "Budgets A budget bounds a run. [2]"
