import { act, fireEvent, screen, waitFor, within } from "@testing-library/preact";
import { options } from "preact";
import { expect, onTestFinished, test } from "vitest";
import { fakeChat, fakeConversation } from "../testing/fakeChat";
import { button, showApp } from "../testing/showApp";

const choose = (title: string, action: string) => {
  fireEvent.click(button(`More about “${title}”`));
  fireEvent.click(screen.getByRole("menuitem", { name: action }));
};

test("pinned conversations come first, the others under their day", () => {
  const chat = fakeChat([], [fakeConversation("Newer"), fakeConversation("Older", 24 * 400)]);
  chat.conversations.pinned.value = [fakeConversation("Kept", 24 * 500)];
  showApp(chat);
  expect(screen.getAllByRole("link").map((link) => link.textContent)).toEqual(["Kept", "Newer", "Older"]);
  within(screen.getByRole("region", { name: "Pinned" })).getByText("Kept");
  within(screen.getByRole("region", { name: "Today" })).getByText("Newer");
});

test("a conversation is opened by its link, and the open one is marked", () => {
  const chat = fakeChat([], [fakeConversation("One", 0, "conv_1"), fakeConversation("Two", 0, "conv_2")]);
  showApp(chat);
  fireEvent.click(screen.getByRole("link", { name: "Two" }));
  expect(chat.calls).toEqual([["show", "conv_2"]]);
  act(() => {
    (chat.open.value.id as { value: string | null }).value = "conv_2";
  });
  expect(screen.getByRole("link", { current: "page" }).textContent).toBe("Two");
});

test("a conversation is renamed in its place, and Escape keeps its title", async () => {
  const chat = fakeChat([], [fakeConversation("Old title", 0, "conv_1")]);
  showApp(chat);
  const title = () => screen.getByRole("textbox", { name: "Title of the conversation" });
  choose("Old title", "Rename");
  fireEvent.input(title(), { target: { value: "Other" } });
  fireEvent.keyDown(title(), { key: "Escape" });
  choose("Old title", "Rename");
  fireEvent.input(title(), { target: { value: " New title " } });
  fireEvent.keyDown(title(), { key: "Enter" });
  expect(chat.calls).toEqual([["rename", "conv_1", "New title"]]);
  await waitFor(() => expect(document.activeElement?.textContent).toBe("Old title"));
});

test("a conversation is pinned, and unpinned where it is pinned", () => {
  const chat = fakeChat([], [fakeConversation("One", 0, "conv_1")]);
  chat.conversations.pinned.value = [fakeConversation("Two", 0, "conv_2")];
  showApp(chat);
  choose("One", "Pin");
  choose("Two", "Unpin");
  expect(chat.calls).toEqual([
    ["pin", "conv_1", true],
    ["pin", "conv_2", false],
  ]);
});

test("nothing is deleted without a second word", () => {
  const chat = fakeChat([], [fakeConversation("One", 0, "conv_1")]);
  showApp(chat);
  choose("One", "Delete");
  fireEvent.click(within(screen.getByRole("dialog")).getByRole("button", { name: "Cancel" }));
  expect(chat.calls).toEqual([]);
  choose("One", "Delete");
  fireEvent.click(within(screen.getByRole("dialog")).getByRole("button", { name: "Delete" }));
  expect(chat.calls).toEqual([["remove", "conv_1"]]);
});

test("a change that failed is told", async () => {
  const chat = fakeChat([], [fakeConversation("One", 0, "conv_1")]);
  chat.behavior.set("pin", () => Promise.reject(new Error("offline")));
  showApp(chat);
  choose("One", "Pin");
  await screen.findByText("The conversation was not pinned. Try again.", { selector: ".form-error" });
});

test("the menu is used by keyboard alone, and gives the focus back", () => {
  const chat = fakeChat([], [fakeConversation("One", 0, "conv_1")]);
  showApp(chat);
  const more = button("More about “One”");
  fireEvent.click(more);
  const menu = screen.getByRole("menu");
  const focused = () => document.activeElement?.textContent;
  const seen = [focused()];
  for (const key of ["ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp", "Home", "End"]) {
    fireEvent.keyDown(menu, { key });
    seen.push(focused());
  }
  expect(seen).toEqual(["Rename", "Pin", "Delete", "Rename", "Delete", "Rename", "Delete"]);
  fireEvent.keyDown(menu, { key: "Escape" });
  expect(screen.queryByRole("menu")).toBeNull();
  expect(document.activeElement).toBe(more);
});

test("what is typed is searched, and an empty result says so", () => {
  const chat = fakeChat();
  showApp(chat);
  screen.getByText("Your conversations will be here.");
  fireEvent.input(screen.getByRole("searchbox"), { target: { value: "travel" } });
  expect(chat.calls).toEqual([["search", "travel"]]);
  act(() => {
    chat.conversations.query.value = "travel";
  });
  screen.getByText("No title has these words.");
});

test("more conversations are read when the reader asks", () => {
  const chat = fakeChat([], [fakeConversation("One")]);
  chat.conversations.hasMore.value = true;
  showApp(chat);
  fireEvent.click(button("Show more"));
  expect(chat.calls).toEqual([["more"]]);
});

/** Counts the elements of this kind that are made from now on. */
function made(type: string): () => number {
  let count = 0;
  const before = options.vnode;
  options.vnode = (node) => {
    if (node.type === type) count++;
    before?.(node);
  };
  onTestFinished(() => {
    if (before === undefined) delete options.vnode;
    else options.vnode = before;
  });
  return () => count;
}

test("of many conversations, only those that change are drawn again", () => {
  const ids = Array.from({ length: 120 }, (_, at) => `conv_${at}`);
  const chat = fakeChat(
    [],
    ids.map((id) => fakeConversation(id, 0, id)),
  );
  showApp(chat);
  const { entries } = chat.conversations;
  const rows = made("li");
  const change = (to: typeof entries.value) => {
    const before = rows();
    act(() => {
      entries.value = to;
    });
    return rows() - before;
  };
  expect(change([...entries.value, fakeConversation("the last one")])).toBe(1);
  const renamed = { ...fakeConversation("renamed"), id: "conv_60" };
  expect(change(entries.value.map((one) => (one.id === renamed.id ? renamed : one)))).toBe(1);
  expect(document.querySelectorAll("nav li").length).toBe(121);
  fireEvent.click(screen.getByLabelText("More about “conv_7”"));
  expect(rows()).toBe(3);
});
