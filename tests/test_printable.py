"""Somebody else's words on a terminal and in a text log."""

import io
import logging

import pytest

from graph_agent.commands.ask import Printer
from graph_agent.printable import one_line, printable
from graph_agent.serving.logs import DevFormatter, SafeFormatter

FORGED = [
    "GET /a\n2026-11-29 12:00:00 INFO graph_agent: forged",
    "a\r2026 INFO forged",
    "a\x1b[2J\x1b[1;31mred\x1b]0;title\x07",
    "a\x9b31mred",
    "a\u2028forged",
    "a\u2029forged",
    "a\x85forged",
    "a\x0bb\x0cc",
    "a\u202egnp.exe",
    "a\x00b\x7f",
]


@pytest.mark.parametrize("text", FORGED)
@pytest.mark.parametrize("formatter", [SafeFormatter, DevFormatter])
def test_a_request_can_neither_begin_a_line_nor_send_an_escape(text: str, formatter: type[logging.Formatter]) -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "%s %s", ("POST", text), None)
    line = formatter("%(asctime)s %(levelname)s %(name)s: %(message)s").format(record)
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    # Nothing is lost: it is written as Python would.
    assert all(word in line for word in ("POST", "a"))


def test_a_whole_traceback_in_dev_keeps_its_lines_and_sends_no_escape() -> None:
    error = ValueError("no\x1b[2J\n2026-11-29 INFO graph_agent: forged")
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), (ValueError, error, None))
    text = DevFormatter("%(levelname)s %(message)s").format(record)
    assert "\x1b" not in text
    assert [line for line in text.split("\n") if line.startswith("2026")] == []


@pytest.mark.parametrize("text", FORGED)
def test_what_a_model_says_moves_no_cursor(text: str) -> None:
    out = io.StringIO()
    printer = Printer(out)
    printer.show({"type": "response.output_text.delta", "delta": text})
    printer.show(
        {"type": "response.output_item.done", "item": {"type": "function_call", "name": text, "arguments": text}}
    )
    printer.show({"type": "error", "message": text})
    sources = [{"number": 1, "title": text, "doc_uri": text, "cited": True}]
    printer.show({"type": "response.completed", "response": {"custom_outputs": {"sources": sources}}})
    shown = out.getvalue()
    assert all(one.isprintable() or one in "\n\t" for one in shown)


def test_ordinary_text_stays() -> None:
    for text in ("Größe\tund\nZeilen", "日本語", "👩\u200d👩\u200d👧", "नम\u200dस्ते"):
        assert printable(text) == text
    assert one_line("a\nb") == "a\\nb"
