"""Turns the body of a Responses request into an `Invocation`, or raises an error that names the field.

No field is ignored silently: it is supported, known to be harmless, or refused by name.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_core.messages import BaseMessage, SystemMessage

from graph_agent.answer_form import AnswerForm
from graph_agent.client_tools import ClientTool, ToolServer
from graph_agent.errors import InvalidRequest, UnknownGraph, UnsupportedField
from graph_agent.protocol.answer_formats import read_format
from graph_agent.protocol.asked_options import option_warnings, options_in
from graph_agent.protocol.compaction import threshold_in
from graph_agent.protocol.declared_servers import headers_for, without_credentials
from graph_agent.protocol.declared_tools import hosted_warnings, read_tools
from graph_agent.protocol.digests import digest_of
from graph_agent.protocol.events import OF_CONNECTION, OF_PROCESS
from graph_agent.protocol.field_checks import a_name, shown, wrong
from graph_agent.protocol.item_shapes import COMPACTION, REFERENCE, Item
from graph_agent.protocol.items_from_messages import new_id
from graph_agent.protocol.json_decoding import Pulse, no_pulse
from graph_agent.protocol.messages import check_items, messages_of
from graph_agent.protocol.questions import require_question
from graph_agent.protocol.request_bodies import body_fields, redacted, secret_in
from graph_agent.protocol.request_fields import MAX_ITEMS, REPEATED, check_run_fields
from graph_agent.protocol.steps import STEPS
from graph_agent.protocol.tool_list_items import listed_before
from graph_agent.protocol.unsupported import refuse_unsupported
from graph_agent.sealing import is_sealed

__all__ = ["MAX_ITEMS", "Invocation", "instruction_messages", "parse_request", "read_request"]

DEFAULT_MODELS = ("agent", "default")
"""Values of `model` that mean the default graph. So does any that begins with `apps/`, as Databricks names an app."""

LONGEST_NAME = 64
"""Characters of an unknown `model` that are compared with the names of graphs: comparing takes quadratic time."""

MAX_NAME = 256
"""Characters of a conversation's id that a client chooses. It is the key of a row."""

WEBHOOK = "webhook"
"""The key in `metadata` that names a target of the operator's file."""

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What one request asks for."""

    graph: str | None
    """The graph's name in `langgraph.json`; `None` is the default graph."""

    messages: Sequence[BaseMessage]
    """The conversation as the client knows it, `instructions` first."""

    thread: str | None
    """The conversation's id, as the client claims it. It proves nothing about who is asking."""

    mode: Literal["stream", "reply"]
    """Events as they happen, or one response at the end."""

    custom_inputs: Mapping[str, Any]
    """Input for the graph, as sent."""

    metadata: Mapping[str, str]
    """As sent, without secrets. The response repeats it."""

    max_output_tokens: int | None
    """The caller's limit, in tokens."""

    max_tool_calls: int | None
    """The caller's limit for the whole run."""

    client_request_id: str | None
    """The caller's own name for this request."""

    said: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request that its response repeats, as sent, without secrets."""

    items: Sequence[Item] = ()
    """The items of `input`, checked and redacted, if the store is needed to read them: because the response is stored,
    because an item is an `item_reference`, or because the request names a history. Then `messages` are empty until
    `runs.continuing` has made them."""

    instructions: str | None = None
    """Instructions for this run only. They stand before the conversation and are never stored. `None` if `messages`
    begin with them."""

    stored: bool = False
    """Whether the response is stored and its run continues a conversation."""

    previous_response_id: str | None = None
    """The response that this one follows."""

    conversation: str | None = None
    """The id of a conversation that the store must have. `thread` is an id that may be new."""

    from_beginning: bool = False
    """Whether the request follows nothing of its conversation: a new branch at the beginning."""

    return_trace: bool = False
    """Whether the caller wants the run's trace with the answer, as Databricks' `databricks_options` ask for it."""

    background: bool = False
    """Whether the run is queued, and the request answered at once. Such a run is always stored."""

    awaited: bool = False
    """Whether the caller waits for a run in the background, as `Prefer: respond-async` asks for it."""

    steps: bool = False
    """Whether the response tells the nodes of the graph and the documents that were found."""

    tools: Sequence[ClientTool] = ()
    """The tools that the client runs."""

    servers: Sequence[ToolServer] = ()
    """The MCP servers that the client names, and whose tools the graph runs."""

    listed: Sequence[str] = ()
    """The labels of those whose tools the history lists already. The response does not list them once more."""

    server_headers: Mapping[str, Mapping[str, str]] = field(
        default_factory=dict, repr=False, metadata={OF_PROCESS: True}
    )
    """Their credentials: label -> the headers of each request. They stay in the memory of this process."""

    tool_choice: str = "auto"
    """`auto`, `none`, `required`, or the name of the client's tool that the model must call first."""

    compact_threshold: int | None = None
    """The tokens from which on the history is summarized before the graph runs. `None`: it is not."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """What is asked of the models of the graph, by path, such as `reasoning.effort`."""

    answer_form: AnswerForm | None = None
    """The form that the answer must have. `None`: a text."""

    warnings: Sequence[str] = ()
    """What of the request has no effect, and why: one sentence each."""

    generate: bool = field(default=True, metadata={OF_CONNECTION: True})
    """Whether the graph runs. Otherwise the response only says what comes next in its conversation."""

    checks_calls: bool = field(default=False, metadata={OF_CONNECTION: True})
    """Whether a result without the call that it belongs to is refused."""

    digest: str | None = None
    """Identifies what is asked, however it is answered. `None` if a repetition is not recognized: the request has no
    `Idempotency-Key`, and it names no conversation or is not stored."""

    @property
    def webhook(self) -> str | None:
        """The target of the webhook that is sent when the run has ended."""
        return self.metadata.get(WEBHOOK) if self.background else None


def parse_request(
    body: bytes,
    *,
    graphs: Sequence[str],
    fallback: str | None = None,
    background_served: bool = False,
    stores: bool = False,
    stored_by_default: bool = False,
    keyed: bool = False,
    respond_async: bool = False,
    webhooks: Collection[str] | None = None,
    servers: Sequence[str] | None = None,
    pulse: Pulse = no_pulse,
) -> Invocation:
    """Read the body of a request for one of `graphs`, or for `fallback` if `model` does not name one of them.

    `stores` says that there is a store, and `stored_by_default` that a response is stored unless the request says
    otherwise. Without a store, every field that needs one is refused, and so is `background`. With one,
    `background_served` says whether this service runs in the background. `keyed` says that the request has an
    `Idempotency-Key`, which needs a stored response. With `respond_async`, a request without `stream` runs in the
    background if it can. `webhooks` are the targets that `metadata.webhook` may name; `None` does not read that key.
    `servers` are the addresses of the MCP servers that `tools` may name; `None` is a way in that takes none.

    Takes time linear in the body's length and calls `pulse` often. Raises `InvalidRequest`, `UnsupportedField` or
    `UnknownGraph`; `param` is the path of the field.
    """
    return read_request(
        body_fields(body, pulse),
        graphs=graphs,
        fallback=fallback,
        background_served=background_served,
        stores=stores,
        stored_by_default=stored_by_default,
        keyed=keyed,
        respond_async=respond_async,
        webhooks=webhooks,
        servers=servers,
        pulse=pulse,
    )


def read_request(
    sent: Fields,
    *,
    graphs: Sequence[str],
    fallback: str | None = None,
    background_served: bool = False,
    stores: bool = False,
    stored_by_default: bool = False,
    keyed: bool = False,
    respond_async: bool = False,
    webhooks: Collection[str] | None = None,
    servers: Sequence[str] | None = None,
    of_connection: bool = False,
    generate: bool = True,
    pulse: Pulse = no_pulse,
) -> Invocation:
    """As `parse_request`, for the fields of a body that was read.

    With `of_connection`, a connection remembers what is not stored. So the invocation keeps its items, a request may
    add nothing to the response that it follows, and a result needs its call. Without `generate`, it may ask nothing.
    """
    check_size(sent)
    sent, taken = without_credentials(sent)
    fields = without_secrets(sent, pulse)
    may_be_empty = of_connection and (not generate or fields.get("previous_response_id") is not None)
    check_run_fields(fields, may_be_empty=may_be_empty)
    refuse_unsupported(fields, background_served=background_served and stores, stores=stores)
    declared = read_tools(fields, graphs, servers)
    server_headers = headers_for(declared.servers, fields["tools"], taken) if taken else {}
    form, unchecked = read_format(fields)
    background = bool(fields.get("background"))
    if background:
        _check_background(fields, pulse)
        _check_credentials(server_headers)
    may_wait = respond_async and not (background or server_headers or fields.get("stream"))
    awaited = may_wait and _may_be_in_background(fields, pulse)
    background = background or awaited
    if webhooks is not None:
        _check_webhook((fields.get("metadata") or {}).get(WEBHOOK), webhooks, background=background)
    previous, conversation, thread = fields.get("previous_response_id"), conversation_in(fields), _thread(fields)
    by_default = background or keyed or stored_by_default or any((previous, conversation, thread))
    stored = stores and _stored(fields, by_default)
    if keyed and not stored:
        raise InvalidRequest(
            "An `Idempotency-Key` finds a stored response: leave `store: false` out, or send no key.", param="store"
        )
    if stored or of_connection:
        _check_names(previous, conversation, thread if stored else None)
    if stored:
        _check_thread(thread, _thread(sent), pulse)
    items = _items(fields, stores, pulse, asks=generate)
    names_history = previous is not None or conversation is not None
    waits = stored or of_connection or names_history or any(map(_needs_store, items))

    def read() -> list[BaseMessage]:
        return messages_of(items, servers=[one.label for one in declared.servers], pulse=pulse)

    return Invocation(
        graph=graph_named(fields.get("model"), graphs, fallback),
        messages=[] if waits else [*instruction_messages(fields.get("instructions")), *read()],
        thread=thread,
        mode="stream" if of_connection or fields.get("stream") else "reply",
        custom_inputs=fields.get("custom_inputs") or {},
        metadata=fields.get("metadata") or {},
        max_output_tokens=fields.get("max_output_tokens"),
        max_tool_calls=fields.get("max_tool_calls"),
        client_request_id=fields.get("client_request_id"),
        said={name: fields[name] for name in REPEATED if fields.get(name) is not None} | dict(declared.said),
        items=items if waits else (),
        instructions=fields.get("instructions") or None if waits else None,
        stored=stored,
        previous_response_id=previous,
        conversation=conversation,
        from_beginning=_from_beginning(fields),
        return_trace=_returns_trace(fields),
        background=background,
        awaited=awaited,
        steps=STEPS in (fields.get("include") or ()),
        tools=declared.tools,
        servers=declared.servers,
        listed=listed_before(declared.servers, items),
        server_headers=server_headers,
        tool_choice=declared.choice,
        compact_threshold=threshold_in(fields),
        options=options_in(fields),
        answer_form=form,
        generate=generate,
        checks_calls=of_connection,
        warnings=(*declared.warnings, *unchecked, *option_warnings(fields), *hosted_warnings(items)),
        digest=digest_of(fields, pulse) if keyed or (stored and generate and (conversation or thread)) else None,
    )


def instruction_messages(instructions: str | None) -> list[BaseMessage]:
    """The message that `instructions` become, if there are any."""
    return [SystemMessage(instructions, id=new_id("msg"))] if instructions else []


def without_secrets(fields: Fields, pulse: Pulse) -> Fields:
    """The fields of a body without secrets.

    Secrets that a caller pasted are not kept and not sent to a model. Only `custom_inputs` reaches the graph as
    sent: it does not enter the state, and a graph may ask for a key there."""
    custom = {name: value for name, value in fields.items() if name == "custom_inputs"}
    others = {name: value for name, value in fields.items() if name not in custom}
    clean = {name: redacted(value, pulse) for name, value in others.items()} | custom
    _keep_sealed(fields.get("input"), clean.get("input"))
    return clean


def _keep_sealed(sent: Any, clean: Any) -> None:
    """Put sealed texts back as they were sent: they look random, and a single changed character makes them useless.
    Nothing but this service can have made one that it then opens."""
    for before, after in zip(sent, clean, strict=False) if isinstance(sent, list) and isinstance(clean, list) else ():
        is_one = isinstance(before, dict) and before.get("type") == COMPACTION and isinstance(after, dict)
        if is_one and is_sealed(before.get("encrypted_content")):
            after["encrypted_content"] = before["encrypted_content"]


def check_size(fields: Fields) -> None:
    """Check that `input` has not too many items.

    Raises:
        InvalidRequest: it has.
    """
    items = fields.get("input")
    # Checked before the items are: the check of each takes time.
    if isinstance(items, list) and len(items) > MAX_ITEMS:
        raise wrong("input", f"an array of at most {MAX_ITEMS} items", f"{len(items)}")


# What the fields mean


def graph_named(model: str | None, graphs: Collection[str], fallback: str | None) -> str | None:
    """The name of the graph that `model` means, or `None` for the default graph.

    Raises:
        UnknownGraph: there is no such graph, and no `fallback`.
    """
    if model is None or model in graphs:
        return model
    if model in DEFAULT_MODELS or model.startswith("apps/"):
        return None
    if fallback is not None:
        return fallback
    close = difflib.get_close_matches(model[:LONGEST_NAME], graphs, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    known = ", ".join(graphs) or "none"
    raise UnknownGraph(f"No graph named '{shown(model)}'; known: {known}.{hint}", param="model")


def _thread(fields: Fields) -> str | None:
    context, custom = fields.get("context") or {}, fields.get("custom_inputs") or {}
    return context.get("conversation_id") or custom.get("thread_id") or custom.get("session_id") or None


def conversation_in(fields: Fields) -> str | None:
    """The id in `conversation`.

    Raises:
        InvalidRequest: it has none.
    """
    value = fields.get("conversation")
    if isinstance(value, dict):
        if value.get("id") is None:
            raise InvalidRequest("`conversation.id` is missing.", param="conversation.id")
        a_name(value["id"], "conversation.id")
        return str(value["id"])
    if value is not None:
        a_name(value, "conversation")
    return value


def _from_beginning(fields: Fields) -> bool:
    value = fields.get("conversation")
    begins = value.get("from") if isinstance(value, dict) else None
    if begins not in (None, "beginning"):
        raise InvalidRequest("`conversation.from` must be 'beginning', or left out.", param="conversation.from")
    return begins is not None


def _returns_trace(fields: Fields) -> bool:
    return (fields.get("databricks_options") or {}).get("return_trace") is True


def _stored(fields: Fields, by_default: bool) -> bool:
    asked = fields.get("store")
    return by_default if asked is None else bool(asked)


def _check_background(fields: Fields, pulse: Pulse) -> None:
    """Refuse what a run in the background cannot do, and what must not be kept for it."""
    if fields.get("store") is False:
        raise InvalidRequest(
            "`store` must not be false with `background`: a background run is always stored. Leave one of them out.",
            param="store",
        )
    if _returns_trace(fields):
        path = "databricks_options.return_trace"
        raise UnsupportedField(
            f"`{path}` is not supported with `background`: the request is answered before there is a trace. Leave one "
            "of them out.",
            param=path,
        )
    if secret := secret_in(fields.get("custom_inputs"), "custom_inputs", pulse):
        raise InvalidRequest(
            f"`{secret}` looks like a secret, and a background run keeps `custom_inputs` until it ends. Send the "
            "request without `background`, or keep the secret in the settings of the app.",
            param=secret,
        )


def _check_credentials(headers: Mapping[str, Any]) -> None:
    """Refuse credentials that a run in the background cannot keep."""
    if headers:
        raise InvalidRequest(
            "`tools` has `authorization` or `headers` of an MCP server, and those are never stored, which a background "
            "run needs. Send the request without `background`.",
            param="tools",
        )


def _check_webhook(name: str | None, known: Collection[str], *, background: bool) -> None:
    """Refuse a webhook that would never be sent."""
    path = f"metadata.{WEBHOOK}"
    if name is None:
        return
    if name not in known:
        targets = ", ".join(known) or "none, because the service has no file of webhooks"
        raise InvalidRequest(f"`{path}` is not the name of a webhook; known: {targets}.", param=path)
    if not background:
        raise InvalidRequest(
            f"`{path}` is for runs in the background: send `background: true` with it, or leave it out.", param=path
        )


def _may_be_in_background(fields: Fields, pulse: Pulse) -> bool:
    try:
        _check_background(fields, pulse)
    except InvalidRequest:
        return False
    return True


def _check_names(previous: str | None, conversation: str | None, thread: str | None) -> None:
    if previous is not None and conversation is not None:
        raise InvalidRequest(
            "`previous_response_id` and `conversation` both say what comes before; send only one of them.",
            param="conversation",
        )
    if conversation is not None and thread is not None and conversation != thread:
        raise InvalidRequest(
            "`conversation` and the id in `context` or `custom_inputs` name different conversations; send only one.",
            param="conversation",
        )


def _check_thread(thread: str | None, sent: str | None, pulse: Pulse) -> None:
    if thread is None:
        return
    if len(thread) > MAX_NAME or not thread.isprintable():
        raise InvalidRequest(
            f"The conversation's id must have at most {MAX_NAME} characters, all of them printable.",
            param="context.conversation_id",
        )
    # Secrets are not stored, and without them two ids could be one.
    if thread != sent or redacted(thread, pulse) != thread:
        raise InvalidRequest(
            "The conversation's id looks like a secret; choose another one, such as a UUID.",
            param="context.conversation_id",
        )


def _items(fields: Fields, stores: bool, pulse: Pulse, *, asks: bool) -> list[Item]:
    items = fields.get("input") or []
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    checked = check_items(items, references=stores, pulse=pulse)
    if checked and asks and not any(map(_is_reference, checked)):
        require_question(checked)
    return checked


def _is_reference(item: Item) -> bool:
    return bool(item["type"] == REFERENCE)


def _needs_store(item: Item) -> bool:
    """Whether the store has what the item stands for, or the key that opens it."""
    return item["type"] in (REFERENCE, COMPACTION)
