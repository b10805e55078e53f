"""A Genie space as a tool: it takes a question in words, and returns text, the SQL it wrote and that query's rows.

    sales = genie("01ef...", name="ask_sales", description="Questions about sales figures.")

The Genie client of databricks-ai-bridge is not used: it sleeps in the calling thread, opens MLflow spans itself, and
returns errors as answers.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.tools import ToolException

from graph_agent.databricks.api_calls import ApiCalls
from graph_agent.databricks.clients import Actor
from graph_agent.databricks.remote_tool import RemoteTool, Result, shorten
from graph_agent.errors import ToolFailed

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.dashboards import GenieAttachment, GenieMessage, GenieStartConversationResponse

SECONDS = 55.0
"""Limit for one question. Below the 60 s of the tools node, so that the error names Genie."""

SLOWEST_POLL = 3.0
"""Longest time in seconds between two polls of a question. The first polls come sooner."""

QUESTION = {
    "type": "object",
    "properties": {
        "question": {
            "type": "string",
            "description": "one question, complete in itself: earlier ones are not remembered",
        }
    },
    "required": ["question"],
}


def genie(
    space: str,
    *,
    name: str = "ask_genie",
    description: str = "Answer a question about data: figures, counts, trends.",
    acting_as: Actor | None = None,
    seconds: float = SECONDS,
) -> RemoteTool:
    """The tool of the space with that id. Creating it makes no call. Each question starts a new conversation.

    It raises `ToolFailed` if Genie cannot be reached or takes longer than `seconds`, and `Unauthenticated` if it acts
    for the user and there is no token.
    """
    asked = _Space(space, acting_as=acting_as, seconds=seconds)
    return RemoteTool(name=name, description=description, args_schema=QUESTION, ask=asked.answer)


class _Space:
    def __init__(self, space: str, *, acting_as: Actor | None, seconds: float) -> None:
        self._space = space
        self._seconds = seconds
        self._calls = ApiCalls("Genie", grant="CAN RUN on the space and CAN USE on its warehouse", acting_as=acting_as)

    async def answer(self, arguments: dict[str, Any]) -> Result:
        question = arguments.get("question")
        if not isinstance(question, str) or not question.strip():
            raise ToolException("ask a question in words, in `question`")
        ends = time.monotonic() + self._seconds
        message = await self._finished(question, ends)
        parts = [text.text.content for text in _texts(message.attachments or []) if text.text and text.text.content]
        rows = None
        query = _last_query(message.attachments or [])
        if query is not None and query.query is not None:
            parts.append(f"SQL: {query.query.query}")
            text, rows = await self._rows(message, query.attachment_id or "", ends)
            parts.append(text)
        return shorten("\n\n".join(parts) or "Genie gave no answer."), rows

    def _begin(self, client: "WorkspaceClient", question: str) -> "GenieStartConversationResponse":
        begun: GenieStartConversationResponse = client.genie.start_conversation(self._space, question).response
        return begun

    async def _finished(self, question: str, ends: float) -> "GenieMessage":
        """The message once Genie has finished it.

        Raises:
            ToolException: Genie could not answer; for the model.
        """
        begun = await self._calls.ask(lambda client: self._begin(client, question), seconds=self._left(ends))
        pause = 0.5
        while True:
            message = await self._calls.ask(
                lambda client: client.genie.get_message(self._space, begun.conversation_id, begun.message_id),
                seconds=self._left(ends),
            )
            match message.status.value if message.status else None:
                case "COMPLETED":
                    return message
                case "FAILED" | "CANCELLED" | "QUERY_RESULT_EXPIRED" as status:
                    error = message.error.error if message.error else None
                    raise ToolException(shorten(error or f"Genie ended the question as {status}", 500))
            # Genie has no way to wait for an answer in one request.
            await asyncio.sleep(min(pause, self._left(ends)))
            pause = min(pause * 1.5, SLOWEST_POLL)

    async def _rows(self, message: "GenieMessage", attachment: str, ends: float) -> Result:
        from graph_agent.databricks.function_sql import table

        answer = await self._calls.ask(
            lambda client: client.genie.get_message_attachment_query_result(
                self._space, message.conversation_id, message.message_id, attachment
            ),
            seconds=self._left(ends),
        )
        response = answer.statement_response
        if response is None:
            return "The query returned no result.", None
        return table(response, (response.result.data_array if response.result else None) or [])

    def _left(self, ends: float) -> float:
        left = ends - time.monotonic()
        if left <= 0:
            raise ToolFailed(f"Genie did not answer within {self._seconds:g} s")
        return left


def _last_query(attachments: Sequence["GenieAttachment"]) -> "GenieAttachment | None":
    return next((one for one in reversed(attachments) if one.query), None)


def _texts(attachments: Sequence["GenieAttachment"]) -> list["GenieAttachment"]:
    """The texts of the answer. Those between the first and the last query describe an attempt that Genie abandoned."""
    queries = [number for number, one in enumerate(attachments) if one.query]
    abandoned = range(queries[0] + 1, queries[-1]) if queries else range(0)
    return [one for number, one in enumerate(attachments) if one.text and number not in abandoned]
