// @vitest-environment node
import { expect, test } from "vitest";
import { createDrafts } from "./drafts";

function memory(): Pick<Storage, "getItem" | "setItem"> {
  const kept = new Map<string, string>();
  return { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
}

test("each conversation keeps its own draft, also after a reload", () => {
  const storage = memory();
  const drafts = createDrafts(storage);
  drafts.write(null, "a new one");
  drafts.write("conv_1", "to be continued");
  drafts.write("conv_2", "sent");
  drafts.write("conv_2", "");
  const reloaded = createDrafts(storage);
  expect([reloaded.read(null), reloaded.read("conv_1"), reloaded.read("conv_2")]).toEqual([
    "a new one",
    "to be continued",
    "",
  ]);
});

test("the oldest of many drafts make room", () => {
  const storage = memory();
  const drafts = createDrafts(storage);
  for (let i = 0; i < 50; i++) drafts.write(`conv_${i}`, "text");
  const reloaded = createDrafts(storage);
  expect([reloaded.read("conv_0"), reloaded.read("conv_49")]).toEqual(["", "text"]);
});

test("storage that is denied or broken loses no draft of this page", () => {
  const denied = {
    getItem: () => "{not json",
    setItem: () => {
      throw new Error("denied");
    },
  };
  const drafts = createDrafts(denied);
  drafts.write("conv_1", "kept");
  expect(drafts.read("conv_1")).toBe("kept");
});
