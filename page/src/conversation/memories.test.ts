// @vitest-environment node
import { expect, test } from "vitest";
import { Api } from "../api/http";
import type { Memory } from "../api/wire";
import { MemoriesState } from "./memories";

/** The memories of a reader at a service. */
function service(count: number) {
  let kept: Memory[] = Array.from({ length: count }, (_, i) => ({
    id: `mem_${i}`,
    text: `text ${i}`,
    response_id: i === 0 ? "resp_1" : null,
    created_at: i,
    updated_at: i,
  }));
  const answer = (body: unknown, status = 200) => new Response(JSON.stringify(body), { status });
  const refusal = (status: number, code: string) => answer({ error: { code, message: "no" } }, status);
  const asked: string[] = [];
  const fetched = async (address: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    const { pathname, searchParams } = new URL(String(address));
    const request = `${init.method} ${pathname}`;
    asked.push(request);
    const id = pathname.split("/").at(-1);
    if (request === "GET /app/v1/memories") {
      const from = kept.findIndex((one) => one.id === searchParams.get("after")) + 1;
      const data = kept.slice(from, from + Number(searchParams.get("limit")));
      return answer({ data, has_more: from + data.length < kept.length });
    }
    if (request === "GET /app/v1/responses/resp_1")
      return answer({ id: "resp_1", conversation: { id: "conv_1" } });
    if (request === "DELETE /app/v1/me/data") {
      const memories = kept.length;
      kept = [];
      return answer({ deleted: { responses: 2, conversations: 1, checkpoints: 2, memories } });
    }
    const one = kept.find((memory) => memory.id === id);
    if (one === undefined) return refusal(404, "memory_not_found");
    if (init.method === "PATCH") return answer(Object.assign(one, JSON.parse(String(init.body))));
    kept = kept.filter((memory) => memory.id !== id);
    return answer({ id, deleted: true });
  };
  const api = new Api({
    fetch: fetched as typeof fetch,
    base: "http://service.test/app/",
    token: () => null,
    refused: () => {},
  });
  let forgotten = 0;
  const state = new MemoriesState(api, () => {
    forgotten += 1;
  });
  return { state, asked, forgotten: () => forgotten };
}

test("memories are read in pages, and the list begins anew when it is opened again", async () => {
  const { state } = service(70);
  await state.load();
  expect([state.entries.value.length, state.hasMore.value]).toEqual([50, true]);
  await state.more();
  expect(new Set(state.entries.value.map((one) => one.id)).size).toBe(70);
  expect(state.hasMore.value).toBe(false);
  await state.load();
  expect(state.entries.value.length).toBe(50);
});

test("a memory is changed and deleted, and the conversation where it was saved is found", async () => {
  const { state } = service(3);
  await state.load();
  await state.change("mem_1", "other");
  await state.remove("mem_2");
  expect(state.entries.value.map((one) => one.text)).toEqual(["text 0", "other"]);
  const [first, second] = state.entries.value;
  expect(await state.origin(first as Memory)).toBe("conv_1");
  expect(await state.origin(second as Memory)).toBeNull();
});

test("a change that the service refuses is told, and changes nothing", async () => {
  const { state } = service(1);
  await state.load();
  await expect(state.change("mem_9", "other")).rejects.toMatchObject({ name: "Failed" });
  expect(state.entries.value.map((one) => one.text)).toEqual(["text 0"]);
});

test("everything is deleted, and the page is told", async () => {
  const { state, forgotten } = service(3);
  await state.load();
  expect(await state.forgetEverything()).toEqual({
    responses: 2,
    conversations: 1,
    checkpoints: 2,
    memories: 3,
  });
  expect([state.entries.value, forgotten()]).toEqual([[], 1]);
});
