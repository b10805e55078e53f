"""The messages in the state from which a stored run continues."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.channels.base import BaseChannel
from langgraph.channels.delta import DeltaChannel
from langgraph.pregel import Pregel

from graph_agent.protocol.final_state import messages_in
from graph_agent.runs.run_saver import RunSaver

MESSAGES = "messages"


async def history_of(graph: Pregel[Any, Any, Any, Any], saver: RunSaver) -> Sequence[BaseMessage]:
    """The messages of the conversation before this run, as the graph's state holds them.

    Raises:
        ResponseNotFound: the state does not exist any more.
        StoreUnavailable: the database does not answer.
    """
    saved = await saver.open()
    if saved is None:
        return []
    channel = graph.channels.get(MESSAGES)
    values = saved.checkpoint["channel_values"]
    if isinstance(channel, DeltaChannel) and MESSAGES not in values:
        histories = await saver.aget_delta_channel_history(config=saved.config, channels=[MESSAGES])
        history = histories[MESSAGES]
        replayed = channel.from_checkpoint(history["seed"]) if "seed" in history else _empty(channel)
        replayed.replay_writes(history["writes"])
        return list(messages_in(replayed.get()))
    if isinstance(channel, BaseChannel) and MESSAGES in values:
        return list(messages_in(channel.from_checkpoint(values[MESSAGES]).get()))
    return []


def _empty(channel: DeltaChannel[Any]) -> DeltaChannel[Any]:
    empty = channel.copy()
    empty.value = channel.typ()
    return empty
