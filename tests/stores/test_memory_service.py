"""Memory over HTTP on a PostgreSQL store: it outlives the process, and all of a caller can be deleted."""

import secrets
from pathlib import Path

from tests.serving.test_memories import Scripted, ask, call, memories_of, served, tool_of
from tests.stores.postgres_server import PostgresServer


def test_memories_outlive_the_process_until_their_owner_deletes_them(
    running_postgres: PostgresServer, tmp_path: Path
) -> None:
    scripted = Scripted()
    database = {"store": running_postgres.url, "store_schema": f"memory_{secrets.token_hex(4)}"}
    with served(tmp_path, scripted.graph(), **database) as client:
        scripted.calls = [call("save_memory", text="Ann likes 緑茶")]
        first = ask(client, "save")
        ask(client, "again", previous_response_id=first["id"])
        ask(client, "save", user="bob")
    with served(tmp_path, scripted.graph(), **database) as client:
        scripted.calls = [call("search_memories", query="who likes 緑茶?")]
        assert "Ann likes 緑茶" in tool_of(ask(client, "search", store=False))[0]
        saved = memories_of(client)
        assert [one["response_id"] for one in saved][-1] == first["id"]
        found = client.get("/memories", params={"query": "緑茶", "limit": 1}).json()["data"]
        assert [one["text"] for one in found] == ["Ann likes 緑茶"]
        client.patch(f"/v1/memories/{found[0]['id']}", json={"text": "Ann likes coffee"}).raise_for_status()
        assert client.get("/memories", params={"query": "coffee"}).json()["data"][0]["id"] == found[0]["id"]
        deleted = client.delete("/api/me/data").raise_for_status().json()["deleted"]
        assert (deleted["responses"], deleted["conversations"], deleted["memories"]) == (2, 1, 2)
        assert deleted["checkpoints"] >= 2
        assert memories_of(client) == []
        assert len(memories_of(client, "bob")) == 1
        assert set(client.delete("/me/data").json()["deleted"].values()) == {0}
