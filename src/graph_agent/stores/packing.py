"""Packs texts of the Responses API for the store: events and response objects, which repeat the same words.

A turn has hundreds of events. Packed together, they take a thirtieth of their length, and less than a microsecond each.
A database compresses long values too, but not as well, and not those of less than 2 KB.
"""

import threading
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Final

import zstandard

LEVEL = 3

VERSION: Final = b"\x01"
"""Stands before what is packed with `WORDS`. Never change `WORDS`: append a version with others, and keep this one."""

_STATED = (
    '"background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,'
    '"max_tool_calls":null,"model":"agent","output":[],"parallel_tool_calls":true,"previous_response_id":"resp_",'
    '"prompt_cache_key":null,"reasoning":{"effort":null,"summary":null},"safety_identifier":null,'
    '"service_tier":"default","store":true,"frequency_penalty":0.0,"presence_penalty":0.0,"temperature":1.0,'
    '"tool_choice":"auto","tools":[],"top_logprobs":0,"top_p":1.0,"truncation":"disabled","user":null,'
    '"text":{"format":{"type":"text"}},"metadata":{"conversation_id":"conv_","trace_id":"tr-"},'
)
_USAGE = (
    '"usage":{"input_tokens":0,"input_tokens_details":{"cached_tokens":0,"cache_write_tokens":0},"output_tokens":0,'
    '"output_tokens_details":{"reasoning_tokens":0},"total_tokens":0}'
)
_BEGUN = (
    '"response":{"id":"resp_","object":"response","created_at":1,"completed_at":null,"status":"in_progress",' + _STATED
)
_PLACE = '"item_id":"msg_","output_index":0,"content_index":0,'

WORDS: Final = "\n".join(
    (
        '{"type":"error","code":"","message":"","param":null,"sequence_number":0}',
        '{"type":"response.failed","response":{"status":"failed","error":{"code":"","message":""}',
        '{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}',
        '{"type":"response.queued","response":{"background":true,"status":"queued"',
        '{"type":"graph_agent:items_discarded","item_ids":["',
        '{"type":"response.mcp_call.in_progress","item_id":"mcp_","output_index":0,"sequence_number":0}',
        '{"type":"response.mcp_call.completed","item_id":"mcp_","output_index":0,"sequence_number":0}',
        '{"type":"response.mcp_call_arguments.delta","item_id":"mcp_","output_index":0,"delta":"{}","sequence_number":0}',
        '{"type":"response.mcp_call_arguments.done","item_id":"mcp_","output_index":0,"arguments":"{}","sequence_number":0}',
        '"item":{"type":"mcp_approval_request","id":"mcpr_","server_label":"agent","name":"","arguments":"{}"}',
        '"item":{"type":"mcp_call","id":"mcp_","server_label":"agent","name":"","arguments":"","approval_request_id":null,'
        '"output":null,"error":null,"status":"in_progress"},"sequence_number":0}',
        '"item":{"type":"reasoning","id":"rs_","summary":[],"content":[{"type":"reasoning_text","text":""}],'
        '"encrypted_content":null,"status":"completed"},"sequence_number":0}',
        '{"type":"response.reasoning_text.delta","item_id":"rs_","output_index":0,"content_index":0,"delta":"',
        '"annotations":[{"type":"url_citation","start_index":0,"end_index":0,"url":"https://","title":""}]',
        '{"type":"response.output_text.annotation.added",' + _PLACE + '"annotation_index":0,"annotation":',
        '{"type":"response.function_call_arguments.delta","item_id":"fc_","output_index":0,"delta":"{\\"","sequence_number":0}',
        '{"type":"response.function_call_arguments.done","item_id":"fc_","output_index":0,"arguments":"{\\"","name":"',
        '"item":{"type":"function_call_output","id":"fco_","call_id":"call_","output":"","status":"completed"},'
        '"sequence_number":0}',
        '"item":{"type":"function_call","id":"fc_","call_id":"call_","name":"","arguments":"","status":"in_progress"},'
        '"sequence_number":0}',
        '"item":{"type":"message","id":"msg_","status":"in_progress","role":"assistant","content":[],'
        '"phase":"commentary"},"sequence_number":0}',
        '{"type":"response.completed","response":{"id":"resp_","object":"response","created_at":1,"completed_at":1,'
        '"status":"completed",' + _STATED + _USAGE + ',"custom_outputs":{"thread_id":""}},"sequence_number":0}',
        '{"type":"response.created",' + _BEGUN,
        '{"type":"response.in_progress",' + _BEGUN + '"custom_outputs":{"thread_id":""}},"sequence_number":1}',
        '{"type":"response.output_item.done","output_index":0,"item":{"type":"message","id":"msg_","status":"completed",'
        '"role":"assistant","content":[{"type":"output_text","text":"","annotations":[],"logprobs":[]}]},'
        '"sequence_number":0}',
        '{"type":"response.content_part.done",' + _PLACE + '"part":{"type":"output_text","text":"","annotations":[],'
        '"logprobs":[]},"sequence_number":0}',
        '{"type":"response.output_text.done",' + _PLACE + '"text":"","logprobs":[],"sequence_number":0}',
        '{"type":"response.content_part.added",' + _PLACE + '"part":{"type":"output_text","text":"","annotations":[],'
        '"logprobs":[]},"sequence_number":0}',
        '{"type":"response.output_item.added","output_index":0,"item":{"type":"',
        '{"type":"response.output_text.delta",' + _PLACE + '"delta":"","logprobs":[],"sequence_number":0}',
    )
).encode()
"""What most texts have in common. The most frequent stands last."""


def pack(text: bytes) -> bytes:
    """The text in fewer bytes."""
    return VERSION + _OF_THREAD.compressor.compress(text)


def unpack(packed: bytes) -> bytes:
    """The text that was packed.

    Raises:
        ValueError: a later version of graph-agent has packed it, or it is damaged.
    """
    if packed[:1] != VERSION:
        raise ValueError("the store holds a text that a later version of graph-agent has packed")
    try:
        return zstandard.ZstdDecompressor(dict_data=_words()).decompress(packed[1:])
    except zstandard.ZstdError:
        raise ValueError("the store holds a damaged text") from None


def pack_lines(lines: Sequence[bytes]) -> bytes:
    """Texts without line breaks, packed together."""
    return pack(b"\n".join(lines))


def unpack_lines(packed: bytes) -> list[bytes]:
    """The texts that were packed together.

    Raises:
        ValueError: as for `unpack`.
    """
    return unpack(packed).split(b"\n")


class _OfThread(threading.local):
    """To make one takes longer than to pack a few events with it."""

    @cached_property
    def compressor(self) -> zstandard.ZstdCompressor:
        return zstandard.ZstdCompressor(dict_data=_words())


_OF_THREAD = _OfThread()


@cache
def _words() -> zstandard.ZstdCompressionDict:
    words = zstandard.ZstdCompressionDict(WORDS)
    words.precompute_compress(level=LEVEL)
    return words
