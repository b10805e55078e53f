import type { ApprovalResponseItem } from "../../api/wire";

const KEY = "graph-agent.decisions";
const MOST_RESPONSES = 20;
const MOST_CHARACTERS = 200_000;

/** Decisions of one response that wait for the others, by the id of what was asked. */
export type Decided = ReadonlyMap<string, ApprovalResponseItem>;

export interface DecisionDrafts {
  read(responseId: string | null): Decided;
  write(responseId: string | null, decided: Decided): void;
  /** Forget everything. */
  clear(): void;
}

/** Decisions that were made and not sent. They outlast a reload of the tab, and not the tab. */
export function createDecisionDrafts(
  storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null,
): DecisionDrafts {
  const load = (): [string, ApprovalResponseItem[]][] => {
    try {
      const kept: unknown = JSON.parse(storage?.getItem(KEY) ?? "[]");
      if (!Array.isArray(kept)) return [];
      return kept.filter(
        (one) =>
          Array.isArray(one) &&
          typeof one[0] === "string" &&
          Array.isArray(one[1]) &&
          one[1].every(isDecision),
      );
    } catch {
      return [];
    }
  };
  const responses = new Map(load());
  return {
    read: (id) => new Map((responses.get(id ?? "") ?? []).map((one) => [one.approval_request_id, one])),
    write(id, decided) {
      if (id === null) return;
      responses.delete(id);
      if (decided.size > 0) responses.set(id, [...decided.values()]);
      for (const oldest of responses.keys()) {
        if (responses.size <= MOST_RESPONSES) break;
        responses.delete(oldest);
      }
      try {
        const text = JSON.stringify([...responses]);
        if (text.length <= MOST_CHARACTERS) storage?.setItem(KEY, text);
      } catch {
        // Without storage they last as long as the page.
      }
    },
    clear() {
      responses.clear();
      try {
        storage?.removeItem(KEY);
      } catch {
        // There is no storage.
      }
    },
  };
}

function isDecision(value: unknown): value is ApprovalResponseItem {
  if (typeof value !== "object" || value === null) return false;
  const one = value as Record<string, unknown>;
  return (
    one.type === "mcp_approval_response" &&
    typeof one.approval_request_id === "string" &&
    typeof one.approve === "boolean" &&
    (one.reason === undefined || typeof one.reason === "string") &&
    (one.output === undefined || typeof one.output === "string") &&
    (one.arguments === undefined || (typeof one.arguments === "object" && one.arguments !== null))
  );
}
