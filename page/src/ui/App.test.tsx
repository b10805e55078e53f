import { act, fireEvent, screen, waitFor, within } from "@testing-library/preact";
import { expect, test } from "vitest";
import { createDecisionDrafts } from "./approvals/drafts";
import {
  fakeAnswer,
  fakeApproval,
  fakeChat,
  fakeStep,
  fakeText,
  fakeTool,
  fakeTurn,
  MODEL,
  SETTINGS,
} from "./testing/fakeChat";
import { button, field, showApp } from "./testing/showApp";

const write = (text: string) => fireEvent.input(field("Your message"), { target: { value: text } });
const press = (key: string, more: object = {}) => fireEvent.keyDown(field("Your message"), { key, ...more });
const methods = (chat: { calls: unknown[][] }) => chat.calls.map((call) => call[0]);

test("Enter sends the message and empties the field", () => {
  const chat = fakeChat();
  showApp(chat);
  write("  Hello\nthere ");
  press("Enter");
  expect(chat.calls).toEqual([["send", "Hello\nthere", []]]);
  expect(field("Your message").value).toBe("");
});

test("Shift+Enter, an Enter of an input method, and an empty message send nothing", () => {
  const chat = fakeChat();
  showApp(chat);
  press("Enter");
  write("日本");
  press("Enter", { isComposing: true });
  press("Enter", { keyCode: 229 });
  press("Enter", { shiftKey: true });
  expect(chat.calls).toEqual([]);
});

test("a message that could not be sent is in the field again", async () => {
  const chat = fakeChat();
  chat.behavior.set("send", () => Promise.reject(new Error("offline")));
  showApp(chat);
  write("Do not lose me");
  press("Enter");
  await waitFor(() => expect(field("Your message").value).toBe("Do not lose me"));
  expect(screen.getByRole("alert").textContent).toContain("The message was not sent.");
});

test("while an answer is written, Enter keeps the text, and Stop and Escape stop", () => {
  const chat = fakeChat([fakeTurn("Hi", fakeAnswer([], "in_progress"))]);
  chat.open.value.busy.value = true;
  showApp(chat);
  write("next");
  press("Enter");
  expect(field("Your message").value).toBe("next");
  fireEvent.click(button("Stop the answer"));
  press("Escape");
  expect(methods(chat)).toEqual(["stop", "stop"]);
});

/** A page whose answer is being written, and takes messages. */
function showWriting() {
  const chat = fakeChat([fakeTurn("Hi", fakeAnswer([], "in_progress"))]);
  chat.open.value.busy.value = true;
  chat.open.value.takesMore.value = true;
  showApp(chat);
  return chat;
}

test("while an answer takes messages, Enter and a button send into it, and Stop stays", async () => {
  const chat = showWriting();
  expect(screen.queryByRole("button", { name: "Send into this answer" })).toBe(null);
  write("one more thing");
  press("Enter");
  expect(field("Your message").value).toBe("");
  write("and another");
  const send = button("Send into this answer");
  send.focus();
  fireEvent.click(send);
  expect(chat.calls).toEqual([
    ["say", "one more thing", []],
    ["say", "and another", []],
  ]);
  expect(document.activeElement).toBe(field("Your message"));
  expect(button("Stop the answer")).toBeTruthy();
  await waitFor(() => expect(document.body.textContent).toContain("waits for the assistant's next step"));
});

test("a message that an answer refuses is in the field again, or in that of its conversation", async () => {
  const chat = showWriting();
  chat.behavior.set("say", () => Promise.reject(new Error("refused")));
  write("Do not lose me");
  press("Enter");
  await waitFor(() => expect(field("Your message").value).toBe("Do not lose me"));

  let refuse = () => {};
  chat.behavior.set("say", () => new Promise((_, reject) => (refuse = () => reject(new Error("late")))));
  press("Enter");
  const [one, other] = [chat.open.value, fakeChat([fakeTurn("Ho")]).open.value];
  (other.id as { value: string | null }).value = "conv_other";
  act(() => {
    chat.open.value = other;
  });
  await act(async () => {
    refuse();
    await new Promise((resume) => setTimeout(resume));
  });
  expect(field("Your message").value).toBe("");
  act(() => {
    chat.open.value = one;
  });
  expect(field("Your message").value).toBe("Do not lose me");
});

test("messages that wait are listed with what they wait for, and one that came back is sent again", () => {
  const chat = showWriting();
  const message = (key: string, state: "queued" | "returned") => ({ key, text: key, attachments: [], state });
  act(() => {
    chat.open.value.meanwhile.value = [message("one", "queued"), message("two", "returned")];
  });
  const items = within(screen.getByRole("list", { name: "Messages that wait" })).getAllByRole("listitem");
  expect(items.map((item) => item.textContent)).toEqual([
    "oneThe assistant reads it before its next step.",
    "twoThe answer ended before it was read.Send again",
  ]);
  act(() => {
    chat.open.value.busy.value = false;
  });
  fireEvent.click(button("Send again"));
  expect(chat.calls).toEqual([
    ["drop", message("two", "returned")],
    ["send", "two", []],
  ]);
});

test("each conversation has its own draft, which is there again when the conversation is", () => {
  const chat = fakeChat([fakeTurn("Hi")]);
  const [one, other] = [chat.open.value, fakeChat([fakeTurn("Ho")]).open.value];
  (other.id as { value: string | null }).value = "conv_other";
  showApp(chat);
  const typed = (conversation: typeof one) => {
    act(() => {
      chat.open.value = conversation;
    });
    return field("Your message").value;
  };
  write("half a thought");
  expect(typed(other)).toBe("");
  write("something else");
  expect(typed(one)).toBe("half a thought");
  expect(typed(other)).toBe("something else");
});

test("an empty conversation greets, says what the graph does, and offers questions", () => {
  const chat = fakeChat();
  chat.settings.value = { ...SETTINGS, greeting: "Grüß Gott!" };
  showApp(chat);
  screen.getByRole("heading", { name: "Grüß Gott!" });
  screen.getByText(MODEL.description ?? "");
  fireEvent.click(button("Who signs travel requests?"));
  expect(chat.calls).toEqual([["send", "Who signs travel requests?", []]]);
});

test("a new conversation begins with the title of the only graph, if it has one", () => {
  const chat = fakeChat();
  showApp(chat);
  screen.getByText("Assistant");
  act(() => {
    chat.models.value = [{ ...MODEL, name: MODEL.id }];
  });
  expect(screen.queryByText(MODEL.id)).toBeNull();
  act(() => {
    chat.models.value = [MODEL, { ...MODEL, id: "data", name: "Data" }];
  });
  expect(screen.getAllByText("Assistant").map((one) => one.tagName)).toEqual(["OPTION"]);
});

test("one of several graphs is chosen; a single graph offers no choice", () => {
  const chat = fakeChat();
  showApp(chat);
  expect(screen.queryByRole("combobox")).toBeNull();
  act(() => {
    chat.models.value = [MODEL, { ...MODEL, id: "data", name: "Data" }];
  });
  fireEvent.change(screen.getByRole("combobox", { name: "Assistant" }), { target: { value: "data" } });
  expect(chat.calls).toEqual([["chooseModel", "data"]]);
});

test("a message is edited in its place, and Escape leaves it as it was", () => {
  const turn = fakeTurn("First try");
  const chat = fakeChat([turn]);
  showApp(chat);
  fireEvent.click(button("Edit your message"));
  const editor = () => within(screen.getByRole("article")).getByRole("textbox", { name: "Your message" });
  fireEvent.keyDown(editor(), { key: "Escape" });
  screen.getByText("First try");
  fireEvent.click(button("Edit your message"));
  fireEvent.input(editor(), { target: { value: "Second try" } });
  fireEvent.keyDown(editor(), { key: "Enter" });
  expect(chat.calls).toEqual([["edit", turn, "Second try", []]]);
});

test("the arrow up in the empty field edits the last message", () => {
  const chat = fakeChat([fakeTurn("First"), fakeTurn("Second")]);
  showApp(chat);
  press("ArrowUp");
  screen.getByDisplayValue("Second");
});

test("the versions of a message can be looked at, one after the other", () => {
  const turn = fakeTurn("Second try");
  turn.branches.value = { index: 1, count: 3 };
  const chat = fakeChat([turn]);
  showApp(chat);
  expect(screen.getByRole("group", { name: "Versions of this message" }).textContent).toContain("2/3");
  fireEvent.click(button("Earlier version"));
  fireEvent.click(button("Later version"));
  expect(chat.calls).toEqual([
    ["showBranch", turn, 0],
    ["showBranch", turn, 2],
  ]);
});

test("steps are shown while they happen, and folded away when the answer is there", async () => {
  const answer = fakeAnswer(
    [
      fakeStep({ name: "planner", status: "in_progress", seconds: null }),
      fakeTool("weather", { city: "Bonn" }, null),
    ],
    "in_progress",
  );
  showApp(fakeChat([fakeTurn("Weather?", answer)]));
  screen.getByText("Planner");
  screen.getByText("city: Bonn");
  act(() => {
    answer.parts.value = [...answer.parts.value, fakeText("Sunny.", { phase: "final_answer" })];
    answer.seconds.value = 4.2;
    answer.status.value = "completed";
  });
  screen.getByText("Worked for 4.2 s · 2 steps");
  await screen.findByText("Sunny.", { selector: ".answer-text *" });
  expect(screen.queryByText("Planner")).toBeNull();
});

test("the text of an answer is not drawn again when the answer ends", async () => {
  const text = fakeText("Sunny.", { phase: "final_answer" });
  const answer = fakeAnswer([fakeStep({ name: "planner" }), text], "in_progress");
  showApp(fakeChat([fakeTurn("Weather?", answer)]));
  const selector = ".answer-text *";
  const drawn = await screen.findByText("Sunny.", { selector });
  act(() => {
    answer.status.value = "completed";
  });
  expect(screen.getByText("Sunny.", { selector })).toBe(drawn);
});

test("a failure says what happened, and its button tries again", () => {
  const answer = fakeAnswer([], "failed");
  answer.problem.value = { code: "timeout", message: "The model did not answer in time.", retryable: true };
  const turn = fakeTurn("Hello", answer);
  const chat = fakeChat([turn]);
  showApp(chat);
  expect(screen.getByRole("alert").textContent).toContain("The model did not answer in time.");
  fireEvent.click(button("Try again"));
  expect(chat.calls).toEqual([["regenerate", turn]]);
});

test("an answer can be rated with a comment, where the service takes feedback", async () => {
  const turn = fakeTurn("Hello", fakeAnswer([fakeText("Hi.")]));
  const chat = fakeChat([turn]);
  showApp(chat);
  expect(screen.queryByRole("button", { name: "Bad answer" })).toBe(null);
  act(() => {
    chat.settings.value = { ...SETTINGS, feedback: true };
  });
  chat.behavior.set("rate", (_turn: unknown, value: boolean) => {
    turn.feedback.value = value;
  });
  fireEvent.click(button("Bad answer"));
  fireEvent.input(await screen.findByLabelText("Comment on the answer"), {
    target: { value: " Too short. " },
  });
  await waitFor(() => expect(button("Send comment").hasAttribute("disabled")).toBe(false));
  fireEvent.click(button("Send comment"));
  await waitFor(() => expect(screen.queryByLabelText("Comment on the answer")).toBe(null));
  expect(chat.calls).toEqual([
    ["rate", turn, false, null],
    ["rate", turn, false, "Too short."],
  ]);
  expect(button("Bad answer").getAttribute("aria-pressed")).toBe("true");
});

test("feedback that was not sent says so, and is not shown as given", async () => {
  const turn = fakeTurn("Hello", fakeAnswer([fakeText("Hi.")]));
  const chat = fakeChat([turn]);
  chat.settings.value = { ...SETTINGS, feedback: true };
  chat.behavior.set("rate", () => Promise.reject(new Error("no")));
  showApp(chat);
  fireEvent.click(button("Good answer"));
  await waitFor(() => expect(screen.getByRole("alert").textContent).toContain("was not sent"));
  expect(button("Good answer").getAttribute("aria-pressed")).toBe("false");
});

test("a lost connection and a missing network are told", () => {
  const chat = fakeChat([fakeTurn("Hello", fakeAnswer([], "lost"))]);
  chat.online.value = false;
  showApp(chat);
  screen.getByText(/Joining the answer again/, { selector: ".cursor-line" });
  screen.getByText(/You are offline/);
});

test("a screen reader hears the whole answer once, and not its pieces", async () => {
  const text = fakeText("**Half**", { streaming: true });
  const answer = fakeAnswer([text], "in_progress");
  showApp(fakeChat([fakeTurn("Hello", answer)]));
  const said = () => screen.getByRole("status").textContent;
  expect(said()).toBe("The answer is being written.");
  act(() => {
    text.text.value = "**Half** of [it](https://example.com) is here.";
  });
  expect(said()).toBe("The answer is being written.");
  act(() => {
    answer.status.value = "completed";
  });
  await waitFor(() => expect(said()).toBe("Answer: Half of it is here."));
});

test("an answer that was there before is not announced", async () => {
  showApp(fakeChat([fakeTurn("Hello", fakeAnswer([fakeText("Old.")]))]));
  await new Promise((resolve) => requestAnimationFrame(resolve));
  expect(screen.getByRole("status").textContent).toBe("");
});

test("the token is asked for once, and a refused one is told", async () => {
  const chat = fakeChat();
  chat.signIn.value = "needed";
  showApp(chat);
  const token = () => screen.getByLabelText<HTMLInputElement>("Access token");
  expect([token().type, token().autocomplete]).toEqual(["password", "off"]);
  fireEvent.input(token(), { target: { value: " secret " } });
  fireEvent.submit(token().form as HTMLFormElement);
  expect(chat.calls).toEqual([["enterToken", "secret"]]);
  act(() => {
    chat.signIn.value = "refused";
  });
  screen.getByText(/refused this token/);
  act(() => {
    chat.signIn.value = "ready";
  });
  expect(screen.queryByLabelText("Access token")).toBeNull();
});

test("shortcuts work from anywhere, and the dialog lists them", () => {
  const chat = fakeChat([fakeTurn("Hi")]);
  showApp(chat);
  fireEvent.keyDown(document.body, { key: "o", ctrlKey: true, shiftKey: true });
  expect(chat.calls).toEqual([["show", null]]);
  fireEvent.keyDown(document.body, { key: "/", ctrlKey: true });
  screen.getByRole("heading", { name: "Keyboard shortcuts" });
});

test("a single approval is sent as soon as it is decided", () => {
  const turn = fakeTurn("Mail Ann", fakeAnswer([fakeApproval("send_mail", { to: "ann" })]));
  const chat = fakeChat([turn]);
  showApp(chat);
  screen.getByRole("row", { name: "to ann" });
  fireEvent.click(button("Approve"));
  const [approval] = turn.answer.parts.value;
  expect(chat.calls).toEqual([
    ["decide", turn, [{ type: "mcp_approval_response", approval_request_id: approval?.id, approve: true }]],
  ]);
});

test("several approvals are decided one by one and sent together", () => {
  const schema = { type: "object", properties: { to: { type: "string", title: "To" } }, required: ["to"] };
  const approvals = ["ann", "bob", "eve"].map((to) => fakeApproval("send_mail", { to }, { schema }));
  const turn = fakeTurn("Mail all", fakeAnswer(approvals));
  const chat = fakeChat([turn]);
  showApp(chat);
  const card = (index: number) =>
    within(screen.getAllByRole("group", { name: /send_mail/ })[index] as HTMLElement);
  const click = (index: number, name: string) => fireEvent.click(card(index).getByRole("button", { name }));
  click(0, "Approve");
  click(1, "Edit");
  fireEvent.input(card(1).getByLabelText("To"), { target: { value: "rob" } });
  fireEvent.submit(card(1).getByLabelText("To").closest("form") as HTMLFormElement);
  click(2, "Reject");
  fireEvent.input(card(2).getByLabelText("Reason (optional)"), { target: { value: "not her" } });
  expect(button(/Send decisions/).hasAttribute("disabled")).toBe(true);
  click(2, "Reject");
  expect(chat.calls).toEqual([]);
  fireEvent.click(button("Send decisions (3 of 3)"));
  const answer = (index: number, more: object) => ({
    type: "mcp_approval_response",
    approval_request_id: approvals[index]?.id,
    ...more,
  });
  expect(chat.calls).toEqual([
    [
      "decide",
      turn,
      [
        answer(0, { approve: true }),
        answer(1, { approve: true, arguments: { to: "rob" } }),
        answer(2, { approve: false, reason: "not her" }),
      ],
    ],
  ]);
});

test("a wrong value in the form keeps it open and says what to change", () => {
  const schema = {
    type: "object",
    properties: { days: { type: "integer", title: "Days" } },
    required: ["days"],
  };
  const chat = fakeChat([fakeTurn("Take days", fakeAnswer([fakeApproval("take", { days: 1 }, { schema })]))]);
  showApp(chat);
  fireEvent.click(button("Edit"));
  fireEvent.input(field("Days"), { target: { value: "some" } });
  fireEvent.submit(field("Days").form as HTMLFormElement);
  screen.getByText("Enter a number, such as 12.5.");
  expect(field("Days").getAttribute("aria-invalid")).toBe("true");
  expect(chat.calls).toEqual([]);
});

test("arguments without a schema are edited as JSON", () => {
  const chat = fakeChat([fakeTurn("Go", fakeAnswer([fakeApproval("go", { a: 1 })]))]);
  showApp(chat);
  fireEvent.click(button("Edit"));
  const json = field("Arguments as JSON");
  for (const wrong of ["{", "[1]"]) {
    fireEvent.input(json, { target: { value: wrong } });
    fireEvent.submit(json.form as HTMLFormElement);
    expect(json.getAttribute("aria-invalid")).toBe("true");
  }
  fireEvent.input(json, { target: { value: '{"a": 2}' } });
  fireEvent.submit(json.form as HTMLFormElement);
  expect(chat.calls[0]?.[2]).toMatchObject([{ approve: true, arguments: { a: 2 } }]);
});

test("a question is answered with words", () => {
  const question = fakeApproval(
    "question",
    { question: "Which year?" },
    { question: true, decisions: ["respond"] },
  );
  const chat = fakeChat([fakeTurn("Take days", fakeAnswer([question]))]);
  showApp(chat);
  screen.getByRole("heading", { name: "Which year?" });
  fireEvent.click(button("Answer"));
  fireEvent.input(field("Your answer"), { target: { value: "2026" } });
  fireEvent.click(button("Answer"));
  expect(chat.calls[0]?.[2]).toMatchObject([{ approve: true, output: "2026" }]);
});

test("a decision that could not be sent can be sent again", async () => {
  const turn = fakeTurn("Mail Ann", fakeAnswer([fakeApproval("send_mail", { to: "ann" })]));
  const chat = fakeChat([turn]);
  chat.behavior.set("decide", () => Promise.reject(new Error("offline")));
  showApp(chat);
  fireEvent.click(button("Approve"));
  await screen.findByText(/The decision was not sent/);
  chat.behavior.clear();
  fireEvent.click(button(/Send decisions/));
  expect(methods(chat)).toEqual(["decide", "decide"]);
});

test("what was decided earlier, and what nobody decided, cannot be decided", () => {
  const decided = fakeApproval("send_mail", { to: "ann" });
  decided.decided.value = { type: "mcp_approval_response", approval_request_id: decided.id, approve: true };
  const old = fakeTurn("Mail both", fakeAnswer([decided, fakeApproval("send_mail", { to: "bob" })]));
  showApp(fakeChat([old, fakeTurn("Never mind")]));
  screen.getByText("You approved this.");
  screen.getByText("This was not decided.");
  expect(screen.queryByRole("button", { name: "Approve" })).toBeNull();
});

test("the graph is drawn beside the chat, and says which node runs", async () => {
  const step = fakeStep({ name: "planner", status: "in_progress", seconds: null });
  const turn = fakeTurn("Hello", fakeAnswer([step], "in_progress"));
  const chat = fakeChat([turn]);
  showApp(chat);
  fireEvent.click(button("Show the graph"));
  await screen.findByText("planner: runs now");
  screen.getByText("tools: has not run");
  act(() => {
    step.step.value = { ...step.step.value, status: "completed", seconds: 2 };
  });
  screen.getByText("planner: has run for 2.0 s");
  expect(chat.calls).toEqual([["graph", "assistant"]]);
});

test("decisions that wait for the others are there again after a reload", () => {
  const kept = new Map<string, string>();
  const storage = {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => void kept.set(name, value),
    removeItem: (name: string) => void kept.delete(name),
  };
  const turn = fakeTurn("Mail", fakeAnswer([fakeApproval("mail", {}), fakeApproval("mail", {})]));
  const chat = fakeChat([turn]);
  showApp(chat, undefined, createDecisionDrafts(storage));
  fireEvent.click(screen.getAllByRole("button", { name: "Approve" })[0] as HTMLElement);
  showApp(chat, undefined, createDecisionDrafts(storage));
  screen.getByRole("button", { name: "Send decisions (1 of 2)" });
  fireEvent.click(button("Approve"));
  fireEvent.click(button("Send decisions (2 of 2)"));
  expect(methods(chat)).toEqual(["decide"]);
});

test("a single decision that did not reach the service can be sent after a reload", async () => {
  const approval = fakeApproval("mail", {});
  const chat = fakeChat([fakeTurn("Mail", fakeAnswer([approval]))]);
  const decisions = createDecisionDrafts(null);
  chat.behavior.set("decide", () => Promise.reject(new Error("offline")));
  showApp(chat, undefined, decisions);
  fireEvent.click(button("Approve"));
  await screen.findByText(/The decision was not sent/);
  showApp(chat, undefined, decisions);
  fireEvent.click(button("Send decisions (1 of 1)"));
  expect(methods(chat)).toEqual(["decide", "decide"]);
});

test("while the graph waits for a decision, the message field says what a message does", () => {
  const approval = fakeApproval("mail", {});
  const chat = fakeChat([fakeTurn("Mail", fakeAnswer([approval]))]);
  showApp(chat);
  const described = () =>
    document.getElementById(field("Your message").getAttribute("aria-describedby")?.split(" ")[0] ?? "");
  expect(described()?.textContent).toContain("After a message it asks again");
  act(() => {
    chat.settings.value = { ...SETTINGS, unanswered: "reject" };
  });
  expect(described()?.textContent).toContain("A message rejects what it asks");
  act(() => {
    approval.decided.value = {
      type: "mcp_approval_response",
      approval_request_id: approval.id,
      approve: true,
    };
  });
  expect(screen.queryByText(/waits for your decision/)).toBeNull();
});

test("a message that was not sent leaves the questions before it open, and is tried again when nothing runs", () => {
  const asked = fakeTurn("Mail", fakeAnswer([fakeApproval("mail", {})]));
  const unsent = fakeTurn("Here", fakeAnswer([], "failed"));
  unsent.responseId.value = null;
  unsent.answer.problem.value = { code: "conversation_busy", message: "This was not sent.", retryable: true };
  const chat = fakeChat([asked, unsent]);
  showApp(chat);
  button("Approve");
  const again = button("Try again") as HTMLButtonElement;
  expect(again.disabled).toBe(false);
  act(() => {
    chat.open.value.busy.value = true;
  });
  expect(again.disabled).toBe(true);
});

test("until the service has answered, the page says that it connects or that the service cannot be reached", () => {
  const chat = fakeChat();
  chat.connection.value = "connecting";
  showApp(chat);
  screen.getByText("Connecting …");
  act(() => {
    chat.connection.value = "unreachable";
  });
  expect(screen.queryByRole("heading", { name: "What would you like to know?" })).toBeNull();
  fireEvent.click(button("Ask again now"));
  expect(methods(chat)).toEqual(["reconnect"]);
  act(() => {
    chat.connection.value = "ready";
  });
  screen.getByRole("heading", { name: "What would you like to know?" });
});

test("an answer with a trace has a link to it, which is a web address or not there", () => {
  const turn = fakeTurn("Hi");
  turn.traceUrl.value = "https://traces.example/tr-1";
  showApp(fakeChat([turn]));
  expect(screen.getByRole("link", { name: "Open the trace" }).getAttribute("href")).toBe(
    "https://traces.example/tr-1",
  );
  act(() => {
    turn.traceUrl.value = "javascript:window.harmed=1";
  });
  expect(screen.queryByRole("link", { name: "Open the trace" })).toBeNull();
});
