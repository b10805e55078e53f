"""Recognizes the history that a client resends, so that a stored conversation gets only what is new.

A *prefix* of a request is its beginning up to something that the assistant said or did, if it leaves something to
answer. If its fingerprints are those of a stored response, the request continues from that response.

Everything here takes time linear in the size of the items and calls `pulse` for each.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from graph_agent.client_tools import bound_name
from graph_agent.protocol.call_pairing import arguments_of, call_id_of
from graph_agent.protocol.content_parts import assistant_text
from graph_agent.protocol.fingerprints import NO_TEXTS, Fingerprints, TextReader, Texts
from graph_agent.protocol.item_ids import id_of
from graph_agent.protocol.item_shapes import CALL_ID, CLIENT_CALLS, COMPACTION, OUTPUTS, RESULT_ID, Item
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.questions import asks, is_of_assistant

DECIDING = ("approve", "arguments", "output", "payload")
"""The fields of an answer to an approval that decide what happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The beginning of a request, up to something that the assistant said or did."""

    end: int
    """The number of items."""

    fingerprints: Fingerprints


def texts_with(texts: Texts, items: Iterable[Item], *, pulse: Pulse = no_pulse) -> Texts:
    """The texts of a conversation that continues with these items."""
    reader = TextReader(texts, pulse=pulse)
    for item in items:
        reader.read(item)
    return reader.texts


def fingerprints_after(texts: Texts, output: Iterable[Item], *, pulse: Pulse = no_pulse) -> Fingerprints | None:
    """The fingerprints at the end of a response with this output. `None` if the output has nothing of the assistant."""
    reader = TextReader(texts, pulse=pulse)
    for item in output:
        reader.read(item)
    return reader.fingerprints


def prefixes_of(items: Sequence[Item], *, pulse: Pulse = no_pulse) -> list[Prefix]:
    """The prefixes of a request, the longest first."""
    last = last_question(items)
    reader, found = TextReader(NO_TEXTS, pulse=pulse), list[Prefix]()
    known: Fingerprints | None = None
    for index, item in enumerate(items[:last]):
        reader.read(item)
        fingerprints = reader.fingerprints
        if fingerprints is not None and fingerprints != known:
            found.append(Prefix(end=index + 1, fingerprints=fingerprints))
        known = fingerprints
    return found[::-1]


def has_history(items: Sequence[Item]) -> bool:
    """Whether the assistant said or did something before what asks for an answer."""
    return any(is_of_assistant(item) and not asks(item) for item in items[: last_question(items)])


def last_question(items: Sequence[Item]) -> int:
    """The index of the last item that asks for an answer, or 0."""
    return next((index for index in range(len(items) - 1, -1, -1) if asks(items[index])), 0)


def end_of_history(
    items: Sequence[Item], end: int, output: Sequence[Item], *, told: Iterable[Item] = (), pulse: Pulse = no_pulse
) -> int:
    """How many items are history, if the first `end` are: those that follow may be the rest of a response's output.

    `told` are the answers that came between two responses of the output. The last question is never taken for one of
    them.
    """
    rest, last = _Output(output, told), last_question(items)
    while end < len(items) and (rest.has(items[end]) or (end < last and rest.was_told(items[end]))):
        pulse()
        end += 1
    return end


def may_follow_earlier(items: Sequence[Item], end: int) -> bool:
    """Whether the item there may be of a response before the one that the request continues."""
    return end < len(items) and (items[end]["type"] in CALL_ID or items[end]["type"] in RESULT_ID)


def answers_in(items: Iterable[Item]) -> list[Item]:
    """The answers to approvals, and the results of calls that the client has run."""
    return [item for item in items if item["type"] in RESULT_ID]


def asking_for(items: Sequence[Item], responses: Sequence[Sequence[Item]]) -> int | None:
    """Which of these responses, by their outputs, has made the last call that the client resends, or `None`."""
    last = last_question(items)
    call = next((item for item in reversed(items[:last]) if item["type"] in CALL_ID), None)
    for place, output in enumerate(responses):
        if call is not None and any(
            item["type"] in CALL_ID and call_id_of(item) == call_id_of(call) for item in output
        ):
            return place
    return None


class _Output:
    """The output of a response, to find its items in a request."""

    def __init__(self, output: Sequence[Item], told: Iterable[Item] = ()) -> None:
        told = list(told)
        self._calls = {call_id_of(item): item for item in output if item["type"] in CALL_ID}
        self._ids = {(found, _is_result(item)) for item in output if is_of_assistant(item) and (found := id_of(item))}
        self._decisions = {one["approval_request_id"]: one for one in told if one["type"] == "mcp_approval_response"}
        self._results = {one["call_id"] for one in told if one["type"] in OUTPUTS}
        self._answered = {call_id for call_id, call in self._calls.items() if call["type"] == "mcp_call"}
        self._answered |= {call_id_of(item) for item in output if item["type"] in OUTPUTS}
        # Clients may write the result of an approved call with the id of the approval.
        self._answered |= {item["approval_request_id"] for item in output if _names_approval(item)}
        self._sealed = {item["encrypted_content"] for item in output if item["type"] == COMPACTION}
        self._alike: dict[tuple[str, str], bool] | None = None

    def has(self, item: Item) -> bool:
        if not is_of_assistant(item):
            return False
        if self.returned(item):
            return True
        if item["type"] in CALL_ID:
            return call_id_of(item) in self._calls or self._has_renamed(item)
        if item["type"] in OUTPUTS:
            return item["call_id"] in self._answered
        if item["type"] == COMPACTION:
            # One from elsewhere takes the place of this history.
            return item["encrypted_content"] in self._sealed
        # Reasoning and the like: no model sees them, and clients change them as they like.
        return bool(item["type"] != "message")

    def was_told(self, item: Item) -> bool:
        """Whether the item repeats an answer to an approval, or a result that the client has sent before."""
        if item["type"] in OUTPUTS:
            return item["call_id"] in self._results
        if item["type"] != "mcp_approval_response":
            return False
        before = self._decisions.get(item["approval_request_id"])
        return before is not None and all(before.get(one) == item.get(one) for one in DECIDING)

    def returned(self, item: Item) -> bool:
        """Whether an item has this id. Some clients give an answer the id of what it answers: that is another item."""
        found = id_of(item)
        if found is None or not is_of_assistant(item):
            return False
        return (found, True) in self._ids or ((found, False) in self._ids and not _is_result(item))

    def _has_renamed(self, call: Item) -> bool:
        """Some clients give a call another id. Then its result has that id, too."""
        if self._alike is None:
            self._alike = {_request_of(one): call_id in self._answered for call_id, one in self._calls.items()}
        answered = self._alike.get(_request_of(call))
        if answered:
            self._answered.add(call_id_of(call))
        return answered is not None


def has_returned(output: Sequence[Item], item: Item) -> bool:
    """Whether a response with this output has returned the item, by its id."""
    return _Output(output).returned(item)


def _is_result(item: Item) -> bool:
    return item["type"] in (*OUTPUTS, "mcp_call")


def _names_approval(item: Item) -> bool:
    return item["type"] == "mcp_call" and isinstance(item.get("approval_request_id"), str)


def _request_of(call: Item) -> tuple[str, str]:
    return call["name"], repr(sorted(arguments_of(call).items()))


def begins_a_turn(items: Iterable[Item]) -> bool:
    """Whether somebody else speaks before the assistant does."""
    for item in items:
        if item["type"] == "message":
            return not is_of_assistant(item) and asks(item)
    return False


def behind_request(items: Sequence[Item], approval_id: str) -> int:
    """The index behind the last item that asks for this approval, or 0."""
    places = [n for n, item in enumerate(items) if item["type"] == "mcp_approval_request" and item["id"] == approval_id]
    return places[-1] + 1 if places else 0


def speaks(output: Iterable[Item]) -> bool:
    """Whether the assistant says something."""
    speech = (item for item in output if item["type"] == "message" and item["role"] == "assistant")
    return any(assistant_text(item["content"]).strip() for item in speech)


def unanswered_calls(output: Sequence[Item]) -> Mapping[str, str]:
    """The calls of a response that its client has to answer: call id -> tool."""
    answered = {item["call_id"] for item in output if item["type"] in OUTPUTS}
    calls = (item for item in output if item["type"] in CLIENT_CALLS)
    return {
        call["call_id"]: bound_name(call["name"], call.get("namespace"))
        for call in calls
        if call["call_id"] not in answered
    }


# By ids: the second way, for clients that rewrite texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What somebody else than the assistant said."""

    index: int
    """Of the item in the request, or of the response in its lineage."""

    text: Fingerprints


def told_by_others(items: Iterable[tuple[int, Item]], *, pulse: Pulse = no_pulse) -> list[Told]:
    """The messages that are not the assistant's, each for itself."""
    found = []
    for index, item in items:
        if item["type"] == "message" and not is_of_assistant(item):
            text = texts_with(NO_TEXTS, [item], pulse=pulse).before
            if text is not None:
                found.append(Told(index=index, text=text))
    return found


def first_difference(request: Sequence[Told], lineage: Sequence[Told]) -> int | None:
    """The index of the last message of the request that is not that of the lineage, comparing from their ends.

    `None`: the request is the lineage, or its end, because clients leave out the beginning of a long history.
    """
    for one, other in zip(reversed(request), reversed(lineage), strict=False):
        if one.text != other.text:
            return one.index
    return request[len(request) - len(lineage) - 1].index if len(request) > len(lineage) else None


def end_of_questions(request: Sequence[Told], lineage: Sequence[Told]) -> int | None:
    """How many items of a request without answers are history: some clients resend only what others said.

    `None`: the request does not resend all of it.
    """
    whole = len(lineage)
    if 0 < whole < len(request) and all(request[n].text == lineage[n].text for n in range(whole)):
        return request[whole - 1].index + 1
    return None


def may_resend(request: Sequence[Told], newest: Sequence[Told]) -> bool:
    """Whether the request has the last message of the newest response, and something behind it."""
    return bool(newest) and newest[-1].text in {one.text for one in request[:-1]}


def ids_of_assistant(items: Sequence[Item], *, start: int) -> Iterator[tuple[int, str]]:
    """The places and ids of the items from `start` on that the assistant may have returned, the last first."""
    for index in range(last_question(items) - 1, start - 1, -1):
        found = id_of(items[index])
        if found and is_of_assistant(items[index]):
            yield index, found
