"""What is said about something that the caller does not have.

It is the same whether the thing never existed, was deleted, or belongs to somebody else.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from graph_agent.errors import ConversationNotFound, ItemNotFound, MemoryNotFound, ResponseNotFound

NO_RESPONSE = "there is no such response: it was not stored, it was deleted, or its id is wrong"
NO_CONVERSATION = "there is no such conversation: it was deleted, or its id is wrong"
NO_MEMORY = "there is no such memory: it was deleted, or its id is wrong"
NO_ITEM = "the conversation has no such item: it was deleted, or its id is wrong"


@contextmanager
def missing_things_named() -> Iterator[None]:
    """Within this context of a request that starts a run, the errors name the field that is wrong."""
    try:
        yield
    except ResponseNotFound:
        raise ResponseNotFound(NO_RESPONSE, param="previous_response_id") from None
    except ConversationNotFound as error:
        raise ConversationNotFound(NO_CONVERSATION, param=error.param or "conversation") from None


@contextmanager
def missing_things() -> Iterator[None]:
    """Within this context the errors have these messages, whatever the store says."""
    try:
        yield
    except ResponseNotFound:
        raise ResponseNotFound(NO_RESPONSE) from None
    except ConversationNotFound:
        raise ConversationNotFound(NO_CONVERSATION) from None
    except ItemNotFound:
        raise ItemNotFound(NO_ITEM) from None
    except MemoryNotFound:
        raise MemoryNotFound(NO_MEMORY) from None
