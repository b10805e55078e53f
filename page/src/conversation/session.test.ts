// @vitest-environment node
import { expect, test } from "vitest";
import { ChatState } from "./chat";
import type { Attachment, Turn } from "./model";
import { FakeService, settled, until } from "./service.testing";
import { shownOf } from "./shown.testing";
import { anyAnswer, randomOf, saying, wholeOf } from "./telling.testing";

async function opened(service: FakeService, id: string | null = null): Promise<ChatState> {
  if (id !== null) service.hash = `/c/${id}`;
  const chat = new ChatState(service.surroundings());
  await chat.start();
  return chat;
}

function textsOf(chat: ChatState): string[] {
  return chat.open.value.turns.value.flatMap((turn) => [turn.text, answerOf(turn)]);
}

function answerOf(turn: Turn | undefined): string {
  const texts = turn?.answer.parts.value.map((part) => (part.kind === "text" ? part.text.value : ""));
  return texts?.join("") ?? "";
}

function last(chat: ChatState): Turn {
  const turn = chat.open.value.turns.value.at(-1);
  if (turn === undefined) throw new Error("no turn");
  return turn;
}

/** Send a text, and wait for the end of its answer. */
async function said(service: FakeService, chat: ChatState, text: string): Promise<Turn> {
  await chat.open.value.send(text);
  await ended(service, chat);
  return last(chat);
}

async function ended(service: FakeService, chat: ChatState): Promise<void> {
  await until(service.clock, () => !chat.open.value.busy.value);
}

// -- sending ---------------------------------------------------------------------------------------------------

test("A message is shown at once, and its answer as it comes.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  const chat = await opened(service);
  await chat.open.value.send("Hello");
  expect(textsOf(chat)).toEqual(["Hello", ""]);
  expect([chat.open.value.busy.value, last(chat).answer.status.value]).toEqual([true, "sending"]);
  await until(service.clock, () => last(chat).answer.status.value === "in_progress");
  const run = service.run(last(chat).responseId.value);
  run.tell(4);
  await until(service.clock, () => answerOf(last(chat)) === "You said: ");
  run.tell();
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["Hello", "You said: Hello"]);
  expect(last(chat).answer.status.value).toBe("completed");
});

test("A message follows the answer that is shown, and a new conversation gets an address.", async () => {
  const service = new FakeService();
  const chat = await opened(service);
  const first = await said(service, chat, "One");
  await said(service, chat, "Two");
  const bodies = service.asked.filter((one) => one.path === "v1/responses").map((one) => one.body);
  expect(bodies).toMatchObject([
    { stream: true, store: true, include: ["graph_agent.steps"] },
    { previous_response_id: first.responseId.value },
  ]);
  expect(bodies.map((body) => Object.keys(body ?? {}).filter((name) => /conversation/.test(name)))).toEqual([
    [],
    [],
  ]);
  expect(service.hash).toBe(`/c/${chat.open.value.id.value}`);
  expect(service.conversations.size).toBe(1);
});

test("A message that is sent while another one is answered is refused, so that its text is kept.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  const chat = await opened(service);
  await chat.open.value.send("One");
  await expect(chat.open.value.send("Two")).rejects.toThrow("in progress");
  expect(chat.open.value.turns.value.length).toBe(1);
});

test("Events of a form that the page does not know do not end the answer.", async () => {
  const service = new FakeService();
  service.answering = ({ said }, telling) => {
    const told = saying(`You said: ${said}`, telling);
    const end = told.events.pop();
    for (const type of [
      "response.output_item.added",
      "response.output_item.done",
      "graph_agent:node",
      "response.created",
    ]) {
      told.events.push({ type, sequence_number: told.events.length });
    }
    told.events.push({
      type: String(end?.type),
      sequence_number: told.events.length,
      response: told.response,
    });
    return told;
  };
  const chat = await opened(service);
  await said(service, chat, "Hello");
  expect(textsOf(chat)).toEqual(["Hello", "You said: Hello"]);
});

// -- messages for an answer that is being written -----------------------------------------------------------------

/** A chat whose answer to "One" is being written, and the run of that answer. */
async function writing(service: FakeService) {
  service.atOnce = false;
  const chat = await opened(service);
  await chat.open.value.send("One");
  await until(service.clock, () => chat.open.value.takesMore.value);
  return { chat, open: chat.open.value, run: service.run(last(chat).responseId.value) };
}

const waits = (chat: ChatState) => chat.open.value.meanwhile.value.map((one) => [one.text, one.state]);

test("A message for an answer waits, and the answer that has it is written below.", async () => {
  const service = new FakeService();
  const { chat, open, run } = await writing(service);
  await open.say("Two");
  await open.say("Three");
  expect(waits(chat)).toEqual([
    ["Two", "queued"],
    ["Three", "queued"],
  ]);
  expect(textsOf(chat).filter((text) => text !== "")).toEqual(["One"]);
  const next = service.goOn(run);
  await until(service.clock, () => open.turns.value.length === 2 && open.meanwhile.value.length === 0);
  expect([open.busy.value, open.takesMore.value]).toEqual([true, true]);
  next.tell();
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["One", "", "Two\n\nThree", "You said: Three"]);
  expect(open.turns.value.map((turn) => turn.answer.goesOn.value)).toEqual([true, false]);
  expect(open.turns.value[0]?.answer.problem.value).toBe(null);
});

test("A message that another page sends into an answer is shown with the answer that has it.", async () => {
  const service = new FakeService();
  const { chat, open, run } = await writing(service);
  const input = [{ type: "message", role: "user", content: [{ type: "input_text", text: "From afar" }] }];
  run.steers.push({ id: "steer_afar", status: "queued", input });
  service.goOn(run).tell();
  await until(service.clock, () => open.turns.value.length === 2);
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["One", "", "From afar", "You said: From afar"]);
});

test("A message that waits for an answer is there after a reload, once.", async () => {
  const service = new FakeService();
  const { chat, open, run } = await writing(service);
  await open.say("Two", [IMAGE]);
  const other = await opened(service, chat.open.value.id.value);
  await until(service.clock, () => other.open.value.meanwhile.value.length === 1);
  expect(waits(other)).toEqual([["Two", "queued"]]);
  expect(other.open.value.meanwhile.value[0]?.attachments).toEqual([IMAGE]);
  await until(service.clock, () => other.open.value.takesMore.value);
  await other.open.value.say("Three");
  expect(waits(other)).toEqual([
    ["Two", "queued"],
    ["Three", "queued"],
  ]);
  service.goOn(run).tell();
  await until(service.clock, () => other.open.value.meanwhile.value.length === 0);
  await ended(service, other);
  expect(textsOf(other)).toEqual(["One", "", "Two\n\nThree", "You said: Three"]);
});

/** A conversation whose answer asks something, and behind which a message waits. */
async function waitingBehindAQuestion(service: FakeService) {
  service.answering = asking("a");
  const { chat, open, run } = await writing(service);
  await open.say("Two");
  for (const steer of run.steers) steer.status = "pending";
  run.tell();
  await ended(service, chat);
  return chat;
}

test("A message behind an answer that asks is there after a reload, and goes along with the decision.", async () => {
  const service = new FakeService();
  const chat = await waitingBehindAQuestion(service);
  const other = await opened(service, chat.open.value.id.value);
  await until(service.clock, () => other.open.value.meanwhile.value.length === 1);
  expect(waits(other)).toEqual([["Two", "waiting"]]);
});

test("A message that a decision has taken along is not shown as waiting, however late the list of them comes.", async () => {
  const service = new FakeService();
  const chat = await waitingBehindAQuestion(service);
  service.answering = ({ said }, telling) => saying(`You said: ${said}`, telling);
  service.atOnce = true;
  const other = await opened(service, chat.open.value.id.value);
  await other.open.value.decide(last(other), [
    { type: "mcp_approval_response", approval_request_id: "a", approve: true },
  ]);
  await ended(service, other);
  await settled();
  expect(waits(other)).toEqual([]);
});

test("An answer that is stopped gives its messages back.", async () => {
  const service = new FakeService();
  const { chat, open, run } = await writing(service);
  await open.say("Two");
  for (const steer of run.steers) steer.status = "failed";
  await open.stop();
  await ended(service, chat);
  expect(waits(chat)).toEqual([["Two", "returned"]]);
  for (const one of open.meanwhile.value) open.drop(one);
  expect(waits(chat)).toEqual([]);
});

test("A message behind an answer that asks goes along with the decision.", async () => {
  const service = new FakeService();
  const { chat, open, run } = await writing(service);
  await open.say("Two");
  for (const steer of run.steers) steer.status = "pending";
  run.tell();
  await ended(service, chat);
  expect(waits(chat)).toEqual([["Two", "waiting"]]);
  service.atOnce = true;
  await said(service, chat, "Three");
  expect(waits(chat)).toEqual([]);
  expect(last(chat).text).toBe("Three\n\nTwo");
  const body = service.asked.findLast((one) => one.path === "v1/responses")?.body;
  expect(JSON.stringify(body)).not.toContain("Two");
});

test("A message that the service refuses for an answer is not shown as if it waited.", async () => {
  const service = new FakeService();
  const { chat, open } = await writing(service);
  service.faults.push({
    of: `POST v1/responses/${last(chat).responseId.value}/steer`,
    fault: { status: 409, code: "steering_not_supported" },
  });
  await expect(open.say("Two")).rejects.toThrow("takes no messages while it is written");
  expect(waits(chat)).toEqual([]);
});

// -- lost connections ------------------------------------------------------------------------------------------

test("An answer over a connection that breaks anywhere and often is the answer of an unbroken one.", async () => {
  for (let seed = 0; seed < 12; seed++) {
    const random = randomOf(seed);
    const service = new FakeService(seed);
    service.answering = (_, telling) => anyAnswer(seed, telling);
    // What the page says of those is another test.
    if (anyAnswer(seed).response.status === "cancelled") continue;
    for (let cuts = 1 + wholeOf(random, 4); cuts > 0; cuts--) service.cuts.push(wholeOf(random, 4000));
    const chat = await opened(service);
    const broken = shownOf((await said(service, chat, "Hello")).answer);
    const again = await opened(service, chat.open.value.id.value);
    expect(broken, `seed ${seed}`).toEqual(shownOf(last(again).answer));
    expect(service.runs.size).toBe(1);
  }
});

test("A joined answer misses nothing and repeats nothing while it goes on.", async () => {
  for (let seed = 0; seed < 10; seed++) {
    const service = new FakeService(seed);
    service.atOnce = false;
    service.answering = (_, telling) => saying("One two three four five six seven eight nine ten.", telling);
    service.cuts.push(1200 + 100 * seed, 1000);
    const chat = await opened(service);
    await chat.open.value.send("Hello");
    await until(service.clock, () => last(chat).responseId.value !== null);
    service.run(last(chat).responseId.value).tell(10);
    await until(service.clock, () => answerOf(last(chat)) === "One two three four five six seven eight ");
    expect(service.cuts, `seed ${seed}`).toEqual([]);
  }
});

test("A request whose answer was lost finds its run with the same key.", async () => {
  const service = new FakeService();
  service.cuts.push(0, 0);
  const chat = await opened(service);
  await said(service, chat, "Hello");
  const posts = service.asked.filter((one) => one.method === "POST");
  expect(posts.length).toBe(3);
  expect(new Set(posts.map((one) => one.headers.get("idempotency-key"))).size).toBe(1);
  expect(service.runs.size).toBe(1);
  expect(textsOf(chat)).toEqual(["Hello", "You said: Hello"]);
});

test("A run that the list of responses has before its own answer comes is one turn.", async () => {
  const service = new FakeService();
  const [run] = service.converse(["One"]);
  const chat = await opened(service, run?.conversation);
  service.cuts.push(0);
  await chat.open.value.send("Two");
  await until(service.clock, () => service.runs.size === 2, 0);
  service.connect(true);
  await until(service.clock, () => last(chat).answer.status.value === "completed");
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["One", "You said: One", "Two", "You said: Two"]);
  expect(last(chat).branches.value).toEqual({ index: 0, count: 1 });
});

test("While the network is away, the answer says so, and it goes on when the network is back.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  service.cuts.push(1000);
  const chat = await opened(service);
  await chat.open.value.send("Hello");
  await until(service.clock, () => last(chat).answer.status.value === "in_progress");
  service.online = false;
  service.run(last(chat).responseId.value).tell();
  await until(service.clock, () => last(chat).answer.status.value === "lost");
  const asked = service.asked.length;
  service.connect(true);
  await settled();
  await ended(service, chat);
  expect(service.asked.length).toBeGreaterThan(asked);
  expect(textsOf(chat)).toEqual(["Hello", "You said: Hello"]);
});

test("A connection that is silent for too long is replaced.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  const chat = await opened(service);
  await chat.open.value.send("Hello");
  await until(service.clock, () => last(chat).responseId.value !== null);
  const joins = () => service.asked.filter((one) => one.path.includes("stream=true")).length;
  await until(service.clock, () => joins() > 0, 5);
  service.run(last(chat).responseId.value).tell();
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["Hello", "You said: Hello"]);
});

test("An answer whose events are gone is read as it is stored.", async () => {
  const service = new FakeService();
  service.cuts.push(3000);
  service.answering = ({ said }, telling) => saying(`${"word ".repeat(200)}${said}`, telling);
  service.faults.push({
    of: "GET v1/responses/resp_1?stream",
    fault: { status: 410, code: "event_log_expired" },
  });
  const chat = await opened(service);
  const turn = await said(service, chat, "Hello");
  expect([turn.answer.status.value, answerOf(turn).endsWith("word Hello")]).toEqual(["completed", true]);
});

test("After a reload, an answer in progress is joined from its first event.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  const before = await opened(service);
  await before.open.value.send("Hello");
  await until(service.clock, () => before.open.value.id.value !== null);
  before.open.value.close();
  const run = service.run(last(before).responseId.value);
  run.tell(3);
  const chat = await opened(service, before.open.value.id.value);
  await until(service.clock, () => answerOf(last(chat)) === "You ");
  expect(chat.open.value.busy.value).toBe(true);
  run.tell();
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["Hello", "You said: Hello"]);
});

// -- errors before the first byte ------------------------------------------------------------------------------

test.each([
  [{ status: 429, code: "too_many_runs", headers: { "retry-after": "7" } }, "Try again in 7 seconds."],
  [{ status: 413, code: "body_too_large" }, "too large"],
  [{ status: 502, code: "model_failed" }, "model did not answer"],
  [{ status: 403, body: "<html>Forbidden</html>" }, "may not use"],
  [{ status: 400, code: "something_new" }, "It is something_new."],
])("A refused message stays with its text and the reason: %j.", async (fault, words) => {
  const service = new FakeService();
  service.faults.push({ of: "POST v1/responses", fault });
  const chat = await opened(service);
  const turn = await said(service, chat, "Hello");
  expect([turn.text, turn.answer.status.value]).toEqual(["Hello", "failed"]);
  expect(turn.answer.problem.value?.message).toContain(words);
});

test("A message to a service that is starting is sent again by itself.", async () => {
  const service = new FakeService();
  const fault = { status: 503, code: "not_ready", headers: { "retry-after": "5" } };
  service.faults.push({ of: "POST v1/responses", fault }, { of: "POST v1/responses", fault });
  const chat = await opened(service);
  const began = service.clock.now();
  await said(service, chat, "Hello");
  expect(service.clock.now() - began).toBeGreaterThan(10);
  expect(textsOf(chat)).toEqual(["Hello", "You said: Hello"]);
});

test("Feedback is sent with its comment, and its value is there after a reload.", async () => {
  const service = new FakeService();
  const chat = await opened(service);
  const turn = await said(service, chat, "One");
  expect(turn.feedback.value).toBe(null);
  await chat.open.value.rate(turn, true, null);
  await chat.open.value.rate(turn, false, "Wrong.");
  expect(service.feedback).toEqual([{ value: true }, { value: false, comment: "Wrong." }]);
  expect(turn.feedback.value).toBe(false);
  const again = await opened(service, chat.open.value.id.value);
  expect(last(again).feedback.value).toBe(false);
});

test("Retry of a message that never arrived sends it again in its place.", async () => {
  const service = new FakeService();
  const chat = await opened(service);
  await said(service, chat, "One");
  service.online = false;
  const failed = await said(service, chat, "Two");
  expect([failed.answer.problem.value?.code, failed.answer.problem.value?.retryable]).toEqual([
    "network",
    true,
  ]);
  service.online = true;
  await chat.open.value.regenerate(failed);
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["One", "You said: One", "Two", "You said: Two"]);
  expect(last(chat).branches.value).toEqual({ index: 0, count: 1 });
});

test("Retry of an answer that failed asks again beside it.", async () => {
  const service = new FakeService();
  const told = Array.from({ length: 60 }, (_, seed) => seed).find(
    (seed) => anyAnswer(seed).response.status === "failed",
  );
  service.answering = (_, telling) => anyAnswer(told ?? 0, telling);
  const chat = await opened(service);
  const failed = await said(service, chat, "Hello");
  expect(failed.answer.problem.value?.code).toBe("graph_failed");
  service.answering = ({ said: text }, telling) => saying(`You said: ${text}`, telling);
  await chat.open.value.regenerate(failed);
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["Hello", "You said: Hello"]);
  expect(last(chat).branches.value).toEqual({ index: 1, count: 2 });
});

// -- stop ------------------------------------------------------------------------------------------------------

test("Stop ends the run at the service, and what was said stays.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  const chat = await opened(service);
  await chat.open.value.send("Hello");
  await until(service.clock, () => last(chat).responseId.value !== null);
  service.run(last(chat).responseId.value).tell(3);
  await until(service.clock, () => answerOf(last(chat)) !== "");
  await chat.open.value.stop();
  await ended(service, chat);
  expect(service.run(last(chat).responseId.value).entry.status).toBe("cancelled");
  expect([last(chat).answer.status.value, last(chat).answer.problem.value]).toEqual(["cancelled", null]);
});

test("An answer that was stopped because nobody read it for a while can be asked for again.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  const chat = await opened(service);
  await chat.open.value.send("Hello");
  await until(service.clock, () => last(chat).responseId.value !== null);
  service.run(last(chat).responseId.value).cancel();
  await ended(service, chat);
  expect([last(chat).answer.status.value, last(chat).answer.problem.value]).toMatchObject([
    "cancelled",
    { code: "left_alone", retryable: true },
  ]);
});

test("Stop before the first byte stops the run as soon as it is known.", async () => {
  const service = new FakeService();
  service.atOnce = false;
  const chat = await opened(service);
  await chat.open.value.send("Hello");
  await chat.open.value.stop();
  await ended(service, chat);
  expect([...service.runs.values()].map((run) => run.entry.status)).toEqual(["cancelled"]);
});

test("Stop while the service cannot be reached gives the message up at once.", async () => {
  const service = new FakeService();
  const chat = await opened(service);
  service.online = false;
  await chat.open.value.send("Hello");
  await until(service.clock, () => last(chat).answer.status.value === "lost");
  await chat.open.value.stop();
  await settled();
  expect([chat.open.value.busy.value, last(chat).answer.status.value]).toEqual([false, "cancelled"]);
  expect(last(chat).text).toBe("Hello");
});

// -- branches --------------------------------------------------------------------------------------------------

test("An edited message begins a branch, and the branches can be switched.", async () => {
  const service = new FakeService();
  const chat = await opened(service);
  await said(service, chat, "One");
  const two = await said(service, chat, "Two");
  await said(service, chat, "Three");
  await chat.open.value.edit(two, "Other", []);
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["One", "You said: One", "Other", "You said: Other"]);
  expect(last(chat).branches.value).toEqual({ index: 1, count: 2 });
  await chat.open.value.showBranch(last(chat), 0);
  expect(textsOf(chat).filter((_, index) => index % 2 === 0)).toEqual(["One", "Two", "Three"]);
  expect(chat.open.value.turns.value[1]?.branches.value).toEqual({ index: 0, count: 2 });
});

test("An edit of the first message is a branch of the same conversation.", async () => {
  const service = new FakeService();
  const chat = await opened(service);
  const first = await said(service, chat, "One");
  await said(service, chat, "Two");
  await chat.open.value.edit(first, "Other", []);
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["Other", "You said: Other"]);
  expect(last(chat).branches.value).toEqual({ index: 1, count: 2 });
  expect(service.conversations.size).toBe(1);
  const again = await opened(service, chat.open.value.id.value);
  expect(last(again).branches.value).toEqual({ index: 1, count: 2 });
});

const IMAGE: Attachment = { kind: "image", name: "Image", url: "data:image/png;base64,AAAA", bytes: 3 };
const NOTES: Attachment = { kind: "file", name: "notes.txt", url: "data:text/plain;base64,SGk=", bytes: 2 };

function sentTo(service: FakeService): unknown[] {
  return service.asked
    .filter((one) => one.path === "v1/responses")
    .flatMap((one) => (one.body?.input ?? []) as { content: unknown }[])
    .map((item) => item.content);
}

test("Images and files are sent with the message, and shown again after a reload and in other branches.", async () => {
  const service = new FakeService();
  const chat = await opened(service);
  await chat.open.value.send("What is it?", [IMAGE, NOTES]);
  await ended(service, chat);
  const parts = [
    { type: "input_image", image_url: IMAGE.url },
    { type: "input_file", filename: "notes.txt", file_data: NOTES.url },
  ];
  const again = await opened(service, chat.open.value.id.value);
  expect(last(again).attachments).toEqual([IMAGE, NOTES]);
  await again.open.value.regenerate(last(again));
  await ended(service, again);
  await again.open.value.edit(last(again), "And now?", last(again).attachments.slice(1));
  await ended(service, again);
  await again.open.value.edit(last(again), "", last(again).attachments);
  await ended(service, again);
  const asked = (text: string) => ({ type: "input_text", text });
  expect(sentTo(service)).toEqual([
    [asked("What is it?"), ...parts],
    [asked("What is it?"), ...parts],
    [asked("And now?"), parts[1]],
    [parts[1]],
  ]);
  expect(last(again).branches.value.count).toBe(4);
});

test("An edit keeps what other clients have said about an image, and what the page does not show.", async () => {
  const service = new FakeService();
  const image = { type: "input_image", image_url: "https://example.com/a.png", detail: "low" };
  const sound = { type: "input_audio", input_audio: { data: "AA==", format: "wav" } };
  const content = [{ type: "input_text", text: "What is it?" }, sound, image];
  const run = service.begin({ input: [{ type: "message", role: "user", content }], conversation: "conv_x" });
  const chat = await opened(service, run.conversation);
  await chat.open.value.edit(last(chat), "And now?", last(chat).attachments);
  await ended(service, chat);
  expect(sentTo(service)).toEqual([[{ type: "input_text", text: "And now?" }, image, sound]]);
});

test("The documents of a stored answer are read from its events when they are wanted, if those are kept.", async () => {
  const service = new FakeService();
  const node = { id: "node_1", name: "retriever", path: ["retriever"], started_at: 1000, seconds: 0.5 };
  const documents = [{ number: 1, id: "a", title: "A", url: null, score: 0.5, text: "Text" }];
  service.answering = ({ said }, telling) => {
    const told = saying(said, telling);
    const end = told.events.pop();
    const more = [
      { type: "graph_agent:node", node: { ...node, status: "in_progress" } },
      { type: "graph_agent:documents", node_id: "node_1", query: "hours", documents },
      { type: "graph_agent:node", node: { ...node, status: "completed" } },
    ];
    const response = {
      ...told.response,
      custom_outputs: { steps: [{ ...node, status: "completed" as const }] },
    };
    for (const event of [...more, { ...end, type: String(end?.type), response }])
      told.events.push({ ...event, sequence_number: told.events.length });
    return { events: told.events, response };
  };
  const [first, second] = [service.converse(["One"]), service.converse(["Two"])].flat();
  const found = (chat: ChatState) =>
    last(chat).answer.parts.value.flatMap((part) => (part.kind === "step" ? part.documents.value : []));
  for (const [run, kept] of [
    [first, true],
    [second, false],
  ] as const) {
    if (run !== undefined) run.logged = kept;
    const chat = await opened(service, run?.conversation);
    expect(found(chat)).toEqual([]);
    await Promise.all([chat.open.value.recall(last(chat)), chat.open.value.recall(last(chat))]);
    expect(found(chat)).toEqual(kept ? [{ query: "hours", documents }] : []);
    expect([last(chat).answer.status.value, last(chat).answer.problem.value]).toEqual(["completed", null]);
  }
});

test("An answer has the address of its trace where the operator has set one, also after a reload.", async () => {
  const service = new FakeService();
  const without = await opened(service);
  expect((await said(service, without, "One")).traceUrl.value).toBeNull();
  service.settings = { trace_links: true };
  service.traces = "https://traces.example/";
  const chat = await opened(service);
  const turn = await said(service, chat, "Two");
  await until(service.clock, () => turn.traceUrl.value !== null);
  const again = await opened(service, chat.open.value.id.value);
  expect([turn.traceUrl.value, last(again).traceUrl.value]).toEqual(
    Array(2).fill(`https://traces.example/${turn.responseId.value}`),
  );
});

test("Regenerate asks the same again, as another branch.", async () => {
  const service = new FakeService();
  const chat = await opened(service);
  const first = await said(service, chat, "One");
  await chat.open.value.regenerate(first);
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["One", "You said: One"]);
  expect(last(chat)).not.toBe(first);
  const again = await opened(service, chat.open.value.id.value);
  await again.open.value.regenerate(last(again));
  await ended(service, again);
  const inputs = service.asked.filter((one) => one.path === "v1/responses").map((one) => one.body?.input);
  expect(inputs[2]).toEqual(inputs[0]);
  expect(last(chat).branches.value).toEqual({ index: 1, count: 2 });
});

// -- reading a conversation ------------------------------------------------------------------------------------

test("A stored conversation shows its newest turns, and earlier ones when they are asked for.", async () => {
  const service = new FakeService();
  const texts = Array.from({ length: 130 }, (_, number) => `Number ${number}`);
  const [run] = service.converse(texts);
  const chat = await opened(service, run?.conversation);
  const open = chat.open.value;
  const shown = () => open.turns.value.map((turn) => turn.text);
  expect(shown()).toEqual(texts.slice(-shown().length));
  expect([shown().length < 20, open.hasEarlier.value]).toEqual([true, true]);
  while (open.hasEarlier.value) await open.earlier();
  expect(shown()).toEqual(texts);
});

test("Items that another client has added without a run are shown, and can be followed.", async () => {
  const service = new FakeService();
  const message = (role: string, text: string) => ({
    type: "message",
    role,
    content: [{ type: "output_text", text }],
  });
  const added = service.begin({
    input: [message("user", "Call me Ann."), message("assistant", "Hello Ann.")],
  });
  added.entry.object = "items";
  const chat = await opened(service, added.conversation);
  expect(textsOf(chat)).toEqual(["Call me Ann.", "Hello Ann."]);
  await said(service, chat, "Hi");
  expect(service.asked.findLast((one) => one.method === "POST")?.body?.previous_response_id).toBe(
    added.entry.id,
  );
});

test("A conversation that does not exist says so.", async () => {
  const chat = await opened(new FakeService(), "conv_none");
  expect(chat.open.value.problem.value?.code).toBe("conversation_not_found");
  expect(chat.open.value.loading.value).toBe(false);
});

test("A message to a conversation that is still being read follows its newest turn.", async () => {
  const service = new FakeService();
  const [, newest] = service.converse(["One", "Two"]);
  const chat = await opened(service);
  let go = () => {};
  const going = new Promise<void>((resume) => {
    go = resume;
  });
  service.held.push({ of: `GET v1/responses/${newest?.entry.id}`, going });
  const shown = chat.show(newest?.conversation ?? null);
  await settled();
  const sent = chat.open.value.send("Three");
  await settled();
  expect(service.asked.some((one) => one.method === "POST")).toBe(false);
  go();
  await Promise.all([shown, sent]);
  await ended(service, chat);
  expect(textsOf(chat).filter((_, index) => index % 2 === 0)).toEqual(["One", "Two", "Three"]);
});

test("A message to a conversation that cannot be read is not sent before it can be.", async () => {
  const service = new FakeService();
  const [, newest] = service.converse(["One", "Two"]);
  const chat = await opened(service);
  const broken = {
    of: `GET v1/responses/${newest?.entry.id}/input_items`,
    fault: { status: 503, code: "store_unavailable" },
  };
  service.faults.push(broken, broken);
  await chat.show(newest?.conversation ?? null);
  await expect(chat.open.value.send("Three")).rejects.toThrow("Conversations cannot be read");
  expect(service.asked.some((one) => one.method === "POST")).toBe(false);
  await said(service, chat, "Three");
  expect(textsOf(chat).filter((_, index) => index % 2 === 0)).toEqual(["One", "Two", "Three"]);
});

test("What another page has added is shown when the reader comes back.", async () => {
  const service = new FakeService();
  const [run] = service.converse(["One"]);
  const chat = await opened(service, run?.conversation);
  service.atOnce = false;
  const other = service.begin({
    input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "Two" }] }],
    previous_response_id: run?.entry.id,
  });
  service.connect(true);
  await until(service.clock, () => chat.open.value.turns.value.length === 2);
  expect(chat.open.value.busy.value).toBe(true);
  other.tell();
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["One", "You said: One", "Two", "You said: Two"]);
});

test("A message that another window has forestalled stays as not sent, behind the other one and in no branch.", async () => {
  const service = new FakeService();
  const [run] = service.converse(["One"]);
  const chat = await opened(service, run?.conversation);
  service.atOnce = false;
  const input = [{ type: "message", role: "user", content: [{ type: "input_text", text: "Elsewhere" }] }];
  const other = service.begin({ input, previous_response_id: run?.entry.id });
  await chat.open.value.send("Here");
  await until(service.clock, () => chat.open.value.turns.value.length === 3);
  expect(last(chat).answer.problem.value?.message).toMatch(/^This was not sent\. Another answer/);
  expect(chat.open.value.busy.value).toBe(true);
  other.tell();
  await ended(service, chat);
  expect(textsOf(chat)).toEqual(["One", "You said: One", "Elsewhere", "You said: Elsewhere", "Here", ""]);
  // The other window goes on, before this one tries again.
  const later = service.begin({ input, previous_response_id: other.entry.id });
  later.tell();
  service.connect(true);
  await until(service.clock, () => chat.open.value.turns.value.length === 4);
  service.atOnce = true;
  await chat.open.value.regenerate(last(chat));
  await ended(service, chat);
  expect(answerOf(last(chat))).toBe("You said: Here");
  expect(chat.open.value.turns.value.map((turn) => turn.branches.value.count)).toEqual([1, 1, 1, 1]);
  const posts = service.asked.filter((one) => one.method === "POST");
  expect(posts.map((one) => one.body?.previous_response_id)).toEqual([run?.entry.id, later.entry.id]);
  expect(new Set(posts.map((one) => one.headers.get("idempotency-key"))).size).toBe(2);
});

// -- approvals -------------------------------------------------------------------------------------------------

function asking(...names: string[]): FakeService["answering"] {
  return ({ said }, telling) => {
    const told = saying(`Asked: ${said}`, telling);
    const items = names.map((name) => ({
      type: "mcp_approval_request",
      id: name,
      name: "send",
      arguments: "{}",
    }));
    const end = told.events.pop();
    for (const [place, item] of items.entries()) {
      const fields = { output_index: place + 1, item };
      told.events.push({
        type: "response.output_item.added",
        sequence_number: told.events.length,
        ...fields,
      });
      told.events.push({ type: "response.output_item.done", sequence_number: told.events.length, ...fields });
    }
    const response = { ...told.response, output: [...told.response.output, ...items] };
    told.events.push({ type: String(end?.type), sequence_number: told.events.length, response });
    return { response, events: told.events };
  };
}

function decisionsOf(chat: ChatState) {
  return chat.open.value.turns.value.map((turn) =>
    turn.answer.parts.value.flatMap((part) =>
      part.kind === "approval" ? [`${part.id}: ${part.decided.value?.approve ?? "waits"}`] : [],
    ),
  );
}

test("Decisions of several approvals are sent together, and shown after a reload.", async () => {
  const service = new FakeService();
  service.answering = asking("a", "b");
  const chat = await opened(service);
  const turn = await said(service, chat, "Mail");
  expect(decisionsOf(chat)).toEqual([["a: waits", "b: waits"]]);
  service.answering = (_, telling) => saying("Done.", telling);
  await chat.open.value.decide(turn, [
    { type: "mcp_approval_response", approval_request_id: "a", approve: true },
    { type: "mcp_approval_response", approval_request_id: "b", approve: false, reason: "no" },
  ]);
  expect(decisionsOf(chat)).toEqual([["a: true", "b: false"], []]);
  await ended(service, chat);
  expect(last(chat).text).toBe("");
  const again = await opened(service, chat.open.value.id.value);
  expect(decisionsOf(again)).toEqual([["a: true", "b: false"], []]);
  expect(last(again).text).toBe("");
});

test("An approval that is asked again is shown only where it waits.", async () => {
  const service = new FakeService();
  service.answering = asking("a", "b");
  const chat = await opened(service);
  const turn = await said(service, chat, "Mail");
  service.answering = asking("b");
  await chat.open.value.decide(turn, [
    { type: "mcp_approval_response", approval_request_id: "a", approve: true },
  ]);
  await ended(service, chat);
  expect(decisionsOf(chat)).toEqual([["a: true"], ["b: waits"]]);
  const again = await opened(service, chat.open.value.id.value);
  expect(decisionsOf(again)).toEqual([["a: true"], ["b: waits"]]);
});

test("An approval that a message has passed over was rejected.", async () => {
  const service = new FakeService();
  service.answering = asking("a");
  const chat = await opened(service);
  await said(service, chat, "Mail");
  service.answering = (_, telling) => saying("Well.", telling);
  await said(service, chat, "Never mind");
  expect(decisionsOf(chat)).toEqual([["a: false"], []]);
});
