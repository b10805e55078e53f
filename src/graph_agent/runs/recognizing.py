"""Finds the stored response that a request continues by resending the history."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from graph_agent.errors import ResponseNotFound
from graph_agent.identity.owner import Owner
from graph_agent.protocol.fingerprints import NO_TEXTS
from graph_agent.protocol.item_ids import id_of
from graph_agent.protocol.item_shapes import Item
from graph_agent.protocol.reconcile import (
    Prefix,
    answers_in,
    asking_for,
    end_of_history,
    end_of_questions,
    first_difference,
    has_returned,
    ids_of_assistant,
    last_question,
    may_follow_earlier,
    may_resend,
    prefixes_of,
    texts_with,
    told_by_others,
)
from graph_agent.runs.gently import run_gently
from graph_agent.stores.records import StoredResponse

if TYPE_CHECKING:
    from graph_agent.protocol.json_decoding import Pulse
    from graph_agent.stores.store import ResponseStore

FIRST_LOOK = 4
"""The longest prefixes are looked up first: nearly always one of them is the parent."""

GROWTH = 16
"""How many more prefixes are looked up each time when none was found."""

MOST_IDS = 200
"""The newest items whose ids are looked up."""

MOST_TRIES = 8
"""How many responses are compared when a client has edited messages and kept ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The response that a request continues."""

    parent: StoredResponse
    known: int
    """How many items of the request the conversation already has up to there."""


class Recognizing:
    """Recognizes histories. Several tasks may use one object."""

    def __init__(self, responses: "ResponseStore") -> None:
        self._responses = responses

    async def parent(self, owner: Owner, items: Sequence[Item], *, conversation: str | None = None) -> Found | None:
        """The response whose conversation the request resends, or `None` if the store knows none.

        With `conversation`, only responses of that conversation.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        prefixes = await self._prefixes(items)
        if not prefixes:
            return None
        try:
            found = await self._by_texts(owner, items, prefixes, conversation)
            if found is not None and found.known >= prefixes[0].end:
                return found
            start = 0 if found is None else found.known
            return await self._by_ids(owner, items, start, conversation) or found
        except ResponseNotFound:
            # It was deleted meanwhile.
            return None

    async def known_of(self, owner: Owner, parent: StoredResponse, items: Sequence[Item]) -> int:
        """How many items of a request that names its parent repeat the conversation up to there."""
        end = 0
        if parent.fingerprints is not None:
            alike = [one.end for one in await self._prefixes(items) if _is_of(one, parent)]
            end = alike[0] if alike else 0
        return await self._end_of_history(owner, items, end, parent)

    async def known_questions(self, owner: Owner, head: StoredResponse, items: Sequence[Item]) -> int:
        """How many items of a request without any answer repeat what was asked from the root up to `head`."""
        request = await run_gently(lambda pulse: told_by_others(enumerate(items), pulse=pulse), items)
        newest = await run_gently(lambda pulse: told_by_others(enumerate(head.input), pulse=pulse), head.input)
        # The whole conversation is read only for a client that seems to resend it.
        if not may_resend(request, newest):
            return 0
        lineage = await self._responses.lineage(owner, head.id)
        asked = [(depth, item) for depth, one in enumerate(lineage) for item in one.input]
        told = await run_gently(lambda pulse: told_by_others(asked, pulse=pulse), asked)
        return end_of_questions(request, told) or 0

    async def _prefixes(self, items: Sequence[Item]) -> list[Prefix]:
        def prefixes(pulse: "Pulse") -> list[Prefix]:
            return prefixes_of(items, pulse=pulse)

        return await run_gently(prefixes, items)

    # -- by texts -----------------------------------------------------------------------------------------------

    async def _by_texts(
        self, owner: Owner, items: Sequence[Item], prefixes: Sequence[Prefix], conversation: str | None
    ) -> Found | None:
        start, size = 0, FIRST_LOOK
        while start < len(prefixes):
            some = prefixes[start : start + size]
            matches = await self._responses.matching(
                owner, [one.fingerprints for one in some], conversation=conversation
            )
            if matches:
                prefix, alike = _longest(some, matches)
                return await self._found(owner, alike, items, prefix, conversation)
            start, size = start + size, size * GROWTH
        return None

    async def _found(
        self,
        owner: Owner,
        alike: Sequence[StoredResponse],
        items: Sequence[Item],
        prefix: Prefix,
        conversation: str | None,
    ) -> Found:
        """Of several responses after the same texts, the one whose items the client resends, or else the newest."""
        match = alike[0].id
        if len(alike) > 1:
            # Those behind the texts too: a response that only calls tools says nothing.
            end = max(prefix.end, last_question(items))
            ids = [found for item in items[max(end - MOST_IDS, 0) : end] if (found := id_of(item))]
            resent = await self._responses.items(owner, ids)
            own = [resent[one][0] for one in reversed(ids) if one in resent]
            own = [one for one in own if one in {other.id for other in alike}] or own
            if own and own[0] in {one.id for one in alike}:
                match = own[0]
            elif own:
                # `matching` returns only the newest of very many.
                older = await self._responses.get(owner, own[0])
                is_here = conversation in (None, older.conversation)
                match = older.id if is_here and _is_of(prefix, older) else match
            elif (asking := asking_for(items, [one.output for one in alike])) is not None:
                # Responses that only call tools say the same.
                match = alike[asking].id
        parent = await self._responses.get(owner, match)
        return Found(parent=parent, known=await self._end_of_history(owner, items, prefix.end, parent))

    async def _end_of_history(self, owner: Owner, items: Sequence[Item], end: int, parent: StoredResponse) -> int:
        """How many items are history, if the first `end` are.

        A response that says nothing has the fingerprints of the one before it, such as one that asked for an approval.
        The client resends the items of both behind the same text.
        """
        output, told, first = list(parent.output), list[Item](), parent
        known = end_of_history(items, end, output)
        while first.parent is not None and first.fingerprints is not None and may_follow_earlier(items, known):
            before = await self._responses.get(owner, first.parent)
            if before.fingerprints != first.fingerprints:
                break
            output, told = [*before.output, *output], [*told, *answers_in(first.input)]
            known, first = end_of_history(items, end, output, told=told), before
        return known

    # -- by ids, for clients that rewrite texts -----------------------------------------------------------------

    async def _by_ids(self, owner: Owner, items: Sequence[Item], start: int, conversation: str | None) -> Found | None:
        places = list(islice(ids_of_assistant(items, start=start), MOST_IDS))
        if not places:
            return None
        stored = await self._responses.items(owner, [item_id for _, item_id in places])
        places = [(index, stored[item_id][0]) for index, item_id in places if item_id in stored]
        if not places:
            return None
        lineage = await self._responses.lineage(owner, places[0][1])
        if conversation not in (None, lineage[0].conversation) or lineage[-1].is_open:
            return None
        return await run_gently(lambda pulse: _agreeing(items, places, lineage, pulse), items)


def _agreeing(
    items: Sequence[Item], places: Sequence[tuple[int, str]], lineage: Sequence[StoredResponse], pulse: "Pulse"
) -> Found | None:
    """The last resent response before which the client has changed nothing that others said.

    `places` are the indexes of resent items and the ids of their responses, the last first.
    """
    depth = {one.id: depth for depth, one in enumerate(lineage)}
    request = told_by_others(enumerate(items), pulse=pulse)
    stored = told_by_others(((depth, item) for depth, one in enumerate(lineage) for item in one.input), pulse=pulse)
    end = len(items)
    for _ in range(MOST_TRIES):
        index, response = next(((at, one) for at, one in places if at < end and one in depth), (0, ""))
        if not response:
            return None
        parent = lineage[depth[response]]
        # Only what the response returned shows that the client resends it.
        if not has_returned(parent.output, items[index]):
            end = index
            continue
        difference = first_difference(
            [one for one in request if one.index < index], [one for one in stored if one.index <= depth[response]]
        )
        if difference is None:
            return Found(parent=parent, known=end_of_history(items, index + 1, parent.output))
        end = difference
    return None


def _longest(prefixes: Sequence[Prefix], matches: Sequence[StoredResponse]) -> tuple[Prefix, Sequence[StoredResponse]]:
    """The longest prefix that has matches, and these matches."""
    wholes = {one.fingerprints.whole for one in matches if one.fingerprints}
    answers = {one.fingerprints.answers for one in matches if one.fingerprints}
    longest = next(one for one in prefixes if one.fingerprints.whole in wholes or one.fingerprints.answers in answers)
    return longest, [one for one in matches if _is_of(longest, one)]


def _is_of(prefix: Prefix, response: StoredResponse) -> bool:
    mine, other = prefix.fingerprints, response.fingerprints
    return other is not None and (mine.whole == other.whole or mine.answers == other.answers)


async def same_question(stored: Sequence[Item], sent: Sequence[Item]) -> bool:
    """Whether two requests ask the same, word by word."""

    def same(pulse: "Pulse") -> bool:
        texts = texts_with(NO_TEXTS, stored, pulse=pulse)
        return texts.before is not None and texts == texts_with(NO_TEXTS, sent, pulse=pulse)

    return await run_gently(same, [*stored, *sent])
