"""Approvals of a service whose store is PostgreSQL."""

import secrets
from pathlib import Path

import httpx
from tests.serving.approving import Effects, Person, answer, approving, asked, text_of
from tests.stores.postgres_server import PostgresServer


def test_questions_are_answered_apart_together_and_after_a_restart(
    running_postgres: PostgresServer, tmp_path: Path
) -> None:
    effects = Effects(tmp_path / "effects")
    store = {"store": running_postgres.url, "store_schema": f"approvals_{secrets.token_hex(4)}"}
    with approving(tmp_path, **store) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        parallel, twice, mail = (Person(client, "/v1/responses", graph) for graph in ("parallel", "twice", "mail"))
        left, right = asked(parallel.say("go"))
        assert asked(parallel.say([answer(right)])) == [left]
        assert text_of(parallel.say([answer(left)])) == ["left [True] and right [True]"]
        [first] = asked(twice.say("go"))
        [second] = asked(twice.say([answer(first)]))
        assert text_of(twice.say([answer(second, False)])) == ["ask [True, False]"]
        send, delete = asked(mail.say("send:ann delete:x"))
        mail.say([answer(send)])
        assert effects() == ["right [True]", "left [True]", "ask [True, False]"]
    with approving(tmp_path, **store) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        mail.http = client
        mail.say([answer(delete, False), {"role": "user", "content": "look:bob"}])
        assert effects() == ["send ann", "look bob"]
        assert mail.refused([answer(delete)])[1]["code"] == "approval_answered"
