// @vitest-environment node
import { expect, test } from "vitest";
import { Api } from "../api/http";
import { UsageState } from "./usage";

function reading(...answers: (readonly [number, unknown])[]) {
  const asked: string[] = [];
  const fetched = async (address: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    asked.push(`${init.method} ${new URL(String(address)).pathname}`);
    const [status, body] = answers.shift() ?? [500, {}];
    return new Response(JSON.stringify(body), { status });
  };
  const api = new Api({
    fetch: fetched as typeof fetch,
    base: "http://service.test/app/",
    token: () => null,
    refused: () => {},
  });
  return { state: new UsageState(api), asked };
}

test("the use of tokens is read, and read again after a failure", async () => {
  const table = { since: "2026-11-01", until: "2026-11-30", all_users: false, data: [], has_more: false };
  const refusal = { error: { code: "store_unavailable", message: "no" } };
  const { state, asked } = reading([503, refusal], [200, table]);
  await state.load();
  expect([state.table.value, state.problem.value?.code]).toEqual([null, "store_unavailable"]);
  await state.load();
  expect([state.table.value, state.problem.value]).toEqual([table, null]);
  expect(asked).toEqual(["GET /app/v1/usage", "GET /app/v1/usage"]);
});
