// @vitest-environment node
import { expect, test } from "vitest";
import type { Model } from "../api/wire";
import { ChatState } from "./chat";
import { FakeService, settled, until } from "./service.testing";

function model(id: string, more: Partial<Model> = {}): Model {
  const accepts = { images: false, files: false };
  return { id, name: id, description: null, example_questions: [], accepts, default: false, ...more };
}

async function started(service: FakeService): Promise<ChatState> {
  const chat = new ChatState(service.surroundings());
  await chat.start();
  return chat;
}

function titles(chat: ChatState): (string | null)[] {
  return chat.conversations.entries.value.map((one) => one.title);
}

/** A page with conversations of these titles, the last one newest. */
async function listing(...all: string[]): Promise<[FakeService, ChatState]> {
  const service = new FakeService();
  for (const title of all) service.converse([title], title);
  return [service, await started(service)];
}

// -- signing in ------------------------------------------------------------------------------------------------

test("Behind a token, the page asks for it once and reads nothing before.", async () => {
  const service = new FakeService();
  service.settings = { sign_in: "token", title: "Desk" };
  service.token = "sesame";
  service.converse(["One"]);
  const chat = await started(service);
  expect([chat.signIn.value, chat.settings.value.title]).toEqual(["needed", "Desk"]);
  expect(service.asked.map((one) => one.path)).toEqual(["page/settings.json"]);
  await chat.enterToken(" sesame ");
  expect([chat.signIn.value, titles(chat)]).toEqual(["ready", ["One"]]);
  expect((await started(service)).signIn.value).toBe("ready");
});

test("While the service cannot be reached the page says so, asks again, and goes on when it answers.", async () => {
  const service = new FakeService();
  const [run] = service.converse(["One"]);
  service.hash = `/c/${run?.conversation}`;
  service.models = [model("first")];
  service.online = false;
  const chat = new ChatState(service.surroundings());
  expect(chat.connection.value).toBe("connecting");
  void chat.start();
  await until(service.clock, () => chat.connection.value === "unreachable");
  const asked = service.asked.length;
  await until(service.clock, () => service.asked.length > asked + 8);
  service.online = true;
  // It starts: its files are there, and its graphs are not.
  const starting = { status: 503, code: "not_ready" };
  service.faults.push({ of: "GET v1/models", fault: starting }, { of: "GET v1/models", fault: starting });
  await until(service.clock, () => chat.connection.value === "ready");
  expect([chat.model.value, titles(chat)]).toEqual(["first", ["One"]]);
  expect(chat.open.value.turns.value.map((turn) => turn.text)).toEqual(["One"]);
});

test("A service that is back is asked at once when the reader says so.", async () => {
  const service = new FakeService();
  service.online = false;
  const chat = new ChatState(service.surroundings());
  void chat.start();
  await until(service.clock, () => chat.connection.value === "unreachable");
  service.online = true;
  chat.reconnect();
  await until(service.clock, () => chat.connection.value === "ready", 0);
});

test("The page asks for the token also when its settings come late.", async () => {
  const service = new FakeService();
  service.settings = { sign_in: "token" };
  service.faults.push({ of: "GET page/settings.json", fault: "lost" });
  const chat = new ChatState(service.surroundings());
  void chat.start();
  await until(service.clock, () => chat.signIn.value === "needed");
});

test("A wrong token is refused and forgotten.", async () => {
  const service = new FakeService();
  service.settings = { sign_in: "token" };
  service.token = "sesame";
  const chat = await started(service);
  await chat.enterToken("guess");
  expect([chat.signIn.value, service.stored.size]).toEqual(["refused", 0]);
  await chat.enterToken("sesame");
  expect(chat.signIn.value).toBe("ready");
});

test("A message that is refused for its token can be sent again with another token.", async () => {
  const service = new FakeService();
  service.settings = { sign_in: "token" };
  service.token = "sesame";
  const chat = await started(service);
  await chat.enterToken("sesame");
  service.token = "changed";
  await chat.open.value.send("Hello");
  await until(service.clock, () => !chat.open.value.busy.value);
  expect(chat.signIn.value).toBe("refused");
  await chat.enterToken("changed");
  const [turn] = chat.open.value.turns.value;
  expect([turn?.text, turn?.answer.problem.value?.retryable]).toEqual(["Hello", true]);
  if (turn !== undefined) await chat.open.value.regenerate(turn);
  await until(service.clock, () => turn?.answer.status.value === "completed");
});

test("A session that has ended elsewhere is no lost connection.", async () => {
  const service = new FakeService();
  service.faults.push({ of: "GET v1/conversations", fault: { status: 302, body: "" } });
  const chat = await started(service);
  expect(chat.conversations.problem.value?.message).toContain("sign in again");
  expect(chat.signIn.value).toBe("ready");
});

// -- graphs ----------------------------------------------------------------------------------------------------

test("A request names the chosen graph, and a conversation goes on with the graph that answered last.", async () => {
  const service = new FakeService();
  service.models = [model("first"), model("second", { default: true }), model("third")];
  const chat = await started(service);
  expect(chat.model.value).toBe("second");
  chat.chooseModel("third");
  await chat.open.value.send("Hello");
  await until(service.clock, () => !chat.open.value.busy.value);
  expect(service.asked.find((one) => one.method === "POST")?.body?.model).toBe("third");
  const again = await started(service);
  expect(again.model.value).toBe("third");
});

// -- addresses -------------------------------------------------------------------------------------------------

test("The address of the page names the conversation, and back and forward follow it.", async () => {
  const [service, chat] = await listing("One", "Two");
  const shown = () => chat.open.value.turns.value.map((turn) => turn.text);
  await chat.show("One");
  expect([service.hash, shown()]).toEqual(["/c/One", ["One"]]);
  await chat.show(null);
  expect([service.hash, shown()]).toEqual(["", []]);
  service.go("/c/Two");
  await settled();
  expect(shown()).toEqual(["Two"]);
  service.go("/c/%E0%A4%A");
  await settled();
  expect(shown()).toEqual([]);
});

test("An answer goes on while another conversation is shown.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  const chat = await started(service);
  await chat.open.value.send("Slow");
  await until(service.clock, () => chat.open.value.id.value !== null);
  const slow = chat.open.value;
  await chat.show(null);
  service.run(slow.turns.value[0]?.responseId.value).tell();
  await until(service.clock, () => slow.turns.value[0]?.answer.status.value === "completed");
  await chat.show(slow.id.value);
  expect(chat.open.value.turns.value.map((turn) => turn.text)).toEqual(["Slow"]);
});

test("A conversation that could not be read is read when it is chosen again.", async () => {
  const [service, chat] = await listing("One");
  service.faults.push({ of: "GET v1/conversations/One", fault: { status: 503, code: "store_unavailable" } });
  await chat.show("One");
  expect(chat.open.value.problem.value?.code).toBe("store_unavailable");
  await chat.show("One");
  expect([chat.open.value.problem.value, chat.open.value.turns.value.length]).toEqual([null, 1]);
});

test("After the service was away, the list is read again together with the conversation.", async () => {
  const service = new FakeService();
  service.converse(["One"], "One");
  const chat = await started(service);
  service.faults.push({ of: "GET v1/conversations/One", fault: "lost" });
  await chat.show("One");
  service.converse(["Two"], "Two");
  await chat.show("One");
  await until(service.clock, () => titles(chat).length === 2);
  expect(chat.open.value.problem.value).toBe(null);
});

// -- the list --------------------------------------------------------------------------------------------------

test("The list is read in pages, and a finished turn brings its conversation to the top.", async () => {
  const names = Array.from({ length: 120 }, (_, number) => `Number ${number}`);
  const [service, chat] = await listing(...names);
  expect([titles(chat).length, chat.conversations.hasMore.value]).toEqual([50, true]);
  while (chat.conversations.hasMore.value) await chat.conversations.more();
  expect(titles(chat)).toEqual(names.toReversed());
  await chat.show("Number 3");
  await chat.open.value.send("More");
  await until(service.clock, () => !chat.open.value.busy.value && titles(chat)[0] === "Number 3");
  expect(titles(chat).length).toBe(120);
});

test("A search is sent when the reader pauses, and only its last words count.", async () => {
  const [service, chat] = await listing("Apples", "Pears", "Apple pie");
  for (const query of ["a", "ap", "apple"]) chat.conversations.search(query);
  await until(service.clock, () => titles(chat).length === 2);
  expect(titles(chat)).toEqual(["Apple pie", "Apples"]);
  const searches = service.asked
    .filter((one) => one.path.includes("query="))
    .map((one) => one.path.slice(-7));
  expect(searches).toEqual(["y=apple", "y=apple"]);
  chat.conversations.search("");
  await until(service.clock, () => titles(chat).length === 3);
});

test("What a search has found too late is not shown.", async () => {
  const [service, chat] = await listing("Apples", "Pears");
  let letGo = () => {};
  const going = new Promise<void>((resume) => {
    letGo = resume;
  });
  service.held.push({ of: "GET v1/conversations?limit=50&pinned=false&query=apples", going });
  chat.conversations.search("apples");
  await until(service.clock, () => service.held.length === 0);
  chat.conversations.search("pears");
  await until(service.clock, () => titles(chat).length === 1);
  letGo();
  await settled();
  expect(titles(chat)).toEqual(["Pears"]);
});

test("A pinned conversation is shown however old it is.", async () => {
  const service = new FakeService();
  service.converse(["Old"], "Old");
  const old = service.conversations.get("Old");
  if (old !== undefined) service.conversations.set("Old", { ...old, metadata: { pinned: "true" } });
  for (let number = 0; number < 60; number++) service.converse([`Number ${number}`]);
  const chat = await started(service);
  expect(chat.conversations.pinned.value.map((one) => one.title)).toEqual(["Old"]);
  expect(titles(chat)).not.toContain("Old");
});

test("A pin keeps what other clients have noted, and is shown at once.", async () => {
  const [service, chat] = await listing("One", "Two");
  const before = service.conversations.get("One");
  if (before !== undefined) service.conversations.set("One", { ...before, metadata: { mine: "yes" } });
  const pinning = chat.conversations.pin("One", true);
  expect(chat.conversations.pinned.value.map((one) => one.id)).toEqual(["One"]);
  await pinning;
  expect(service.conversations.get("One")?.metadata).toEqual({ mine: "yes", pinned: "true" });
  await chat.conversations.pin("One", false);
  expect(service.conversations.get("One")?.metadata).toEqual({ mine: "yes" });
  expect(titles(chat)).toEqual(["Two", "One"]);
});

test.each([
  ["rename", (chat: ChatState) => chat.conversations.rename("One", "Other"), "POST"],
  ["pin", (chat: ChatState) => chat.conversations.pin("One", true), "GET v1/conversations/One"],
  ["remove", (chat: ChatState) => chat.conversations.remove("One"), "DELETE"],
])(
  "A change that the service refuses is taken back, and rejects in words: %s.",
  async (_, change, request) => {
    const [service, chat] = await listing("One", "Two");
    const before = titles(chat);
    service.faults.push({ of: request, fault: { status: 409, code: "conversation_busy" } });
    const changing = change(chat);
    expect(titles(chat)).not.toEqual(before);
    await expect(changing).rejects.toThrow("Another answer in this conversation is in progress.");
    expect(titles(chat)).toEqual(before);
  },
);

test("A conversation whose answer is being written is stopped and deleted.", async () => {
  const [service, chat] = await listing("One", "Two");
  await chat.show("One");
  service.atOnce = false;
  await chat.open.value.send("go on");
  await until(service.clock, () => chat.open.value.turns.value.at(-1)?.responseId.value != null);
  expect(chat.open.value.busy.value).toBe(true);
  await chat.show("Two");
  await chat.conversations.remove("One");
  await settled();
  expect([titles(chat), service.conversations.has("One")]).toEqual([["Two"], false]);
});

test("A deleted conversation is not shown any more.", async () => {
  const [service, chat] = await listing("One", "Two");
  await chat.show("One");
  await chat.conversations.remove("One");
  await settled();
  expect([titles(chat), chat.open.value.id.value, service.hash]).toEqual([["Two"], null, ""]);
});
