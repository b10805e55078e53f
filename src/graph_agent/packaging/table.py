"""A model that scores tables of questions, for Spark."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]
from mlflow.types.responses import ResponsesAgentRequest, ResponsesAgentResponse

from graph_agent.errors import AgentError
from graph_agent.responses_agent import GraphResponsesAgent

ANSWER, STATUS, ERROR = "answer", "status", "error"
"""The columns of a scored table."""

with warnings.catch_warnings():
    # MLflow warns about missing type hints on `predict`. With hints, it would derive the schema from them and not use
    # the signature that `log_model` gives it.
    warnings.simplefilter("ignore")

    class TableModel(PythonModel):
        """Answers a table row by row: it reads the column `question`, and returns `answer`, `status` and `error`.

        It is for `mlflow.pyfunc.spark_udf`, which would give a `ResponsesAgent` a whole batch and use only the first
        answer.
        """

        def __init__(self, agent: GraphResponsesAgent, *, at_once: int) -> None:
            self._agent = agent
            self._at_once = at_once

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            """Answer every row. A row that fails has a stable code in `error`, and does not affect other rows."""
            return self._scored(model_input)

        def _scored(self, table: Any) -> Any:
            import pandas  # type: ignore[import-untyped]

            with ThreadPoolExecutor(self._at_once, thread_name_prefix="row") as threads:
                rows = list(threads.map(self._row, table["question"]))
            return pandas.DataFrame(rows, index=table.index, columns=[ANSWER, STATUS, ERROR])

        def _row(self, question: Any) -> tuple[str, str, str]:
            if not isinstance(question, str) or not question.strip():
                return "", "failed", "no_question"
            try:
                response = self._agent.predict(ResponsesAgentRequest(**_asking(question)))
            except AgentError as error:
                return "", "failed", error.code
            except Exception as error:  # noqa: BLE001 - a graph may raise anything; one row must not fail the batch
                return "", "failed", type(error).__name__
            return _text(response), str(response.status), ""


def _asking(question: str) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": question}]}


def _text(response: ResponsesAgentResponse) -> str:
    """The text of the last message. That message is the answer."""
    said = [item.model_dump() for item in response.output if item.type == "message"]
    return "".join(part.get("text", "") for part in said[-1]["content"]) if said else ""
