"""Simulates conversations: the judge's model plays the user, and judges rate the whole conversation."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from graph_agent.evaluating.errors import EvalError
from graph_agent.evaluating.judge_runs import LOCAL_JUDGE, check_judge, judge_environment, judge_model
from graph_agent.evaluating.judges import YES_NO, error_name, figure
from graph_agent.evaluating.rows import Row, chosen
from graph_agent.evaluating.runner import Agent, Limits, ask_once
from graph_agent.evaluating.targets import LOCAL, Target
from graph_agent.evaluating.tracking import tracked
from graph_agent.lazy import IMPORT_LOCK
from graph_agent.settings import Settings

TURNS = 3
"""The most turns of the user. A conversation ends earlier if its goal is reached."""

GOAL = "mlflow.simulation.goal"
CALM = {"none": 1.0, "resolved": 0.5, "unresolved": 0.0}


@dataclass(slots=True)
class Conversation:
    """One conversation, and the verdicts of the judges."""

    goal: str
    row: str
    """The id of the row whose question is the goal."""

    turns: list[dict[str, str]] = field(default_factory=list)
    """`question` and `answer` of each turn."""

    values: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    trace_ids: list[str] = field(default_factory=list)
    """The ids of the agent's own traces."""


def simulate(
    rows: Sequence[Row], agent: Agent, *, count: int, judge: str, target: Target, limits: Limits
) -> list[Conversation]:
    """Hold `count` conversations with the running agent.

    If a conversation breaks off or a judge fails, this is an error of that conversation.

    Raises:
        EvalError: the judge or MLflow cannot be reached, or the agent and the judge need different workspaces.
        AgentUnreachable: nothing answers at the agent's address.
    """
    answerable = [row for row in rows if row.expectations.facts and not row.expectations.must_decline]
    # MLflow cuts a goal at 250 characters. The goal is the key by which a conversation is found again, so it must stay
    # whole.
    goals = {f"Find out: {row.question}"[:200]: row for row in chosen(answerable, count=count)}
    conversations = {goal: Conversation(goal=goal, row=row.id) for goal, row in goals.items()}
    if not conversations:
        return []
    settings = Settings.from_environment(None, config=target.project.config)
    with _judge_beside(target, judge) as model, tracked(settings, judge_environment(judge)) as experiment:
        with IMPORT_LOCK:
            import mlflow
            import mlflow.genai
            from mlflow.genai.simulators import ConversationSimulator
            from mlflow.genai.simulators.simulator import SimulatedUserAgent

        class User(SimulatedUserAgent):
            """Records what goes wrong in a conversation. MLflow itself only logs it."""

            def generate_message(self, context: Any) -> Any:
                with _failing(conversations[context.goal], "simulator"):
                    return super().generate_message(context)

        simulator = ConversationSimulator(
            user_agent_class=User,
            test_cases=[{"goal": goal, "context": {"goal": goal}} for goal in conversations],
            max_turns=TURNS,
            user_model=model,
        )
        with mlflow.start_run(experiment_id=experiment, run_name="eval conversations"):
            try:
                mlflow.genai.evaluate(
                    data=simulator,
                    predict_fn=_answering(agent, limits, conversations),
                    scorers=list(_judges(model, conversations)),
                )
            except Exception as error:  # noqa: BLE001 - MLflow raises plain `Exception`, here if it held no conversation
                for one in conversations.values():
                    one.errors.setdefault("simulator", error_name(error))
    # MLflow reports success even if a conversation has no turns or no verdict.
    for one in conversations.values():
        if not one.turns:
            one.errors.setdefault("simulator", "the user said nothing")
        elif not one.values and not one.errors:
            one.errors["judges"] = "no judge was asked"
    return list(conversations.values())


@contextmanager
def _judge_beside(target: Target, judge: str) -> Iterator[str]:
    """Yield the judge's model while the agent is running. An agent in this process may have its own workspace."""
    # With the local model as agent and as judge, both use the workspace that is already running.
    if judge == LOCAL_JUDGE and target.here and target.model == LOCAL:
        yield "databricks:/local-model"
        return
    if target.here and (judge == LOCAL_JUDGE or judge.startswith("databricks:")) and ":" not in target.model:
        # Both read the workspace from the environment of this process, which can only name one.
        raise EvalError(
            "the agent and this judge need different workspaces; use --judge openai:/model, or serve the agent"
            " elsewhere and use --url"
        )
    check_judge(judge)
    with judge_model(judge) as model:
        yield model


@contextmanager
def _failing(conversation: Conversation, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        conversation.errors[what] = error_name(error)
        raise


def _answering(agent: Agent, limits: Limits, conversations: Mapping[str, Conversation]) -> Any:
    def answer(input: list[dict[str, Any]], goal: str, mlflow_session_id: str) -> dict[str, Any]:
        into = conversations[goal]
        with _failing(into, "agent"):
            turn = asyncio.run(ask_once(agent, input, limits))
        into.turns.append({"question": turn.question, "answer": turn.answer})
        into.trace_ids += [turn.trace_id] if turn.trace_id else []
        if turn.status != "completed":
            into.errors["agent"] = str((turn.error or {}).get("code", turn.status))
        content = [{"type": "output_text", "text": turn.answer}]
        return {"output": [{"type": "message", "role": "assistant", "content": content}]}

    return answer


def _judges(model: str, conversations: Mapping[str, Conversation]) -> Iterator[Any]:
    from mlflow.genai import scorers
    from mlflow.genai.scorers import scorer

    built_in: Any = scorers
    made = {
        "complete": (built_in.ConversationCompleteness(model=model), YES_NO),
        "safe": (built_in.ConversationalSafety(model=model), YES_NO),
        "calm": (built_in.UserFrustration(model=model), CALM),
    }

    def judging(name: str, verdict: Any, words: Mapping[str, float]) -> Any:
        @scorer(name=f"conversation_{name}")
        def run(session: Any) -> Any:
            into = conversations[session[0].info.trace_metadata[GOAL]]
            try:
                said = verdict(session=session)
                into.values[f"conversation_{name}"] = figure([said], words=words)
                return said
            except Exception as error:
                into.errors[f"conversation_{name}"] = error_name(error)
                raise

        return run

    for name, (verdict, words) in made.items():
        yield judging(name, verdict, words)
