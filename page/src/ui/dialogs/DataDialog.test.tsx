import { act, fireEvent, screen, waitFor, within } from "@testing-library/preact";
import { expect, test } from "vitest";
import type { Memory, UsageOfTokens } from "../../api/wire";
import { fakeChat } from "../testing/fakeChat";
import { button, field, showApp } from "../testing/showApp";

const memory = (id: string, text: string | null, more: Partial<Memory> = {}): Memory => ({
  id,
  text,
  created_at: 0,
  updated_at: 0,
  ...more,
});

function opened(...entries: Memory[]) {
  const chat = fakeChat();
  chat.memories.entries.value = entries;
  showApp(chat);
  fireEvent.click(button("Data and memory"));
  return chat;
}

test("a memory is read, changed and deleted", () => {
  const chat = opened(memory("mem_1", "Likes tea"), memory("mem_2", null, { value: { tea: 1 } }));
  expect(chat.calls).toEqual([["load"]]);
  screen.getByText('{"tea":1}');
  fireEvent.click(button("Change “Likes tea”"));
  fireEvent.input(field("Memory"), { target: { value: "Likes coffee" } });
  fireEvent.click(button("Save"));
  fireEvent.click(button('Delete “{"tea":1}”'));
  expect(chat.calls.slice(1)).toEqual([
    ["change", "mem_1", "Likes coffee"],
    ["removeMemory", "mem_2"],
  ]);
});

test("the conversation of a memory is opened, and a lost one is told", async () => {
  const chat = opened(memory("mem_1", "Likes tea", { response_id: "resp_1" }));
  fireEvent.click(button(/Open the conversation/));
  await screen.findByText(/the conversation is deleted/);
  chat.memories.origin = async () => "conv_1";
  fireEvent.click(button(/Open the conversation/));
  await waitFor(() => expect(chat.calls).toContainEqual(["show", "conv_1"]));
  expect(screen.queryByRole("dialog")).toBeNull();
});

test("everything is deleted after a second word, and the counts are told", async () => {
  const chat = opened();
  fireEvent.click(button("Delete everything"));
  const confirmation = within(screen.getByRole("dialog", { name: "Delete everything?" }));
  expect(chat.calls).toEqual([["load"]]);
  fireEvent.click(confirmation.getByRole("button", { name: "Delete everything" }));
  await screen.findAllByText("Deleted: 3 conversations, 12 answers, 5 memories.");
  expect(chat.calls).toEqual([["load"], ["forgetEverything"]]);
});

test("what failed is told with its reason", async () => {
  const chat = opened(memory("mem_1", "Likes tea"));
  chat.behavior.set("removeMemory", () => {
    const failed = new Error("The service cannot be reached.");
    failed.name = "Failed";
    throw failed;
  });
  fireEvent.click(button("Delete “Likes tea”"));
  await act(async () => {});
  expect(screen.getByRole("alert").textContent).toBe("The service cannot be reached.");
});

const usageOf = (all_users: boolean, has_more = false): UsageOfTokens => ({
  since: "2026-11-01",
  until: "2026-11-30",
  all_users,
  has_more,
  data: [
    {
      user: "apps:ann",
      graph: "assistant",
      model: "big",
      calls: 2,
      input_tokens: 1800,
      output_tokens: 20,
      total_tokens: 1820,
    },
  ],
});

test("the reader sees the own use, and an operator that of all users", () => {
  const chat = opened();
  expect(screen.queryByRole("table")).toBeNull();
  act(() => {
    chat.usage.table.value = usageOf(false);
  });
  screen.getByRole("heading", { name: "Your use" });
  screen.getByText(/for you since Nov 1, 2026/);
  const cells = () => screen.getAllByRole("cell").map((cell) => cell.textContent);
  expect(cells()).toEqual(["assistant", "big", "2", "1,800", "20", "1,820"]);
  act(() => {
    chat.usage.table.value = usageOf(true, true);
  });
  screen.getByRole("heading", { name: "Use by everybody" });
  expect(cells()[0]).toBe("ann");
  screen.getByText(/There are more/);
});

test("use that could not be read is told", () => {
  const chat = opened();
  act(() => {
    chat.usage.problem.value = { code: "network", message: "No service.", detail: null, retryable: true };
  });
  screen.getByText("No service.");
});
