"""Compares the right of an attempt in the transaction of each checkpoint that it writes."""

from collections.abc import Mapping
from typing import Any

from graph_agent.errors import LeaseLost
from graph_agent.stores.run_records import Right

HELD = "SELECT crashes FROM runs WHERE owner = ? AND response = ? AND attempt = ? AND state = 'running'"
"""Finds the run while the attempt has it. In PostgreSQL the row must be locked until the end of the transaction."""

NO_CRASHES = "UPDATE runs SET crashes = 0 WHERE owner = ? AND response = ?"
"""Earlier crashes do not count any more, because the run has come further."""

NO_TASK = "00000000-0000-0000-0000-000000000000"
"""LangGraph's task of what comes with the input."""


def key_of(right: Right) -> tuple[str, str, int]:
    """The parameters of `HELD`. Without the last, those of `NO_CRASHES`."""
    return right.owner.key, right.response, right.attempt


def lost() -> LeaseLost:
    """The error of a write whose right is lost."""
    return LeaseLost("another process has taken over this run")


def is_progress(metadata: Mapping[str, Any]) -> bool:
    """Whether a checkpoint with this metadata follows a step. Those of the input come before anything has run."""
    return metadata.get("source") != "input" and metadata.get("step", 0) >= 0


def is_of_a_node(task_id: str) -> bool:
    """Whether the writes of this task are those of a node that has ended, and not of the input."""
    return task_id != NO_TASK
