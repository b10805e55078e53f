/** A chat that talks to nobody: for tests, and for looking at the page without a service. */

import { type Signal, signal } from "@preact/signals";
import type {
  ApprovalResponseItem,
  Conversation,
  GraphDrawing,
  Memory,
  Model,
  NodeStep,
  PageSettings,
  Source,
  UsageOfTokens,
} from "../../api/wire";
import type {
  Answer,
  ApprovalPart,
  Chat,
  Citation,
  OpenConversation,
  Part,
  Problem,
  ReasoningPart,
  SaidMeanwhile,
  StepPart,
  TextPart,
  ToolPart,
  Turn,
} from "../../conversation/model";

/** The signals of `T`, which a test may set. */
export type Writable<T> = { [K in keyof T]: T[K] extends { readonly value: infer V } ? Signal<V> : T[K] };

let count = 0;
const nextId = (prefix: string) => `${prefix}_${++count}`;

export function fakeText(
  text: string,
  {
    citations = [] as Citation[],
    phase = null as "final_answer" | "commentary" | null,
    streaming = false,
  } = {},
): Writable<TextPart> {
  return {
    kind: "text",
    id: nextId("msg"),
    text: signal(text),
    citations: signal<readonly Citation[]>(citations),
    phase: signal(phase),
    refusal: false,
    streaming: signal(streaming),
  };
}

export function fakeTool(
  name: string,
  args: unknown,
  output: string | null,
  seconds = 0.4,
): Writable<ToolPart> {
  return {
    kind: "tool",
    id: nextId("mcp"),
    name,
    arguments: signal(JSON.stringify(args)),
    output: signal(output),
    error: signal<string | null>(null),
    status: signal<"in_progress" | "completed" | "failed">(output === null ? "in_progress" : "completed"),
    seconds: signal<number | null>(output === null ? null : seconds),
  };
}

export function fakeReasoning(text: string, streaming = false): Writable<ReasoningPart> {
  return {
    kind: "reasoning",
    id: nextId("rs"),
    text: signal(text),
    streaming: signal(streaming),
    seconds: signal<number | null>(streaming ? null : 2.3),
  };
}

export function fakeStep(step: Partial<NodeStep> & { name: string }): Writable<StepPart> {
  const id = nextId("node");
  return {
    kind: "step",
    id,
    step: signal<NodeStep>({
      id,
      path: [step.name],
      status: "completed",
      started_at: Date.now() / 1000,
      seconds: 0.4,
      ...step,
    }),
    documents: signal<StepPart["documents"]["value"]>([]),
  };
}

export function fakeApproval(
  name: string,
  args: unknown,
  more: Partial<Pick<ApprovalPart, "question" | "schema" | "decisions">> = {},
): Writable<ApprovalPart> {
  return {
    kind: "approval",
    id: nextId("mcpr"),
    name,
    arguments: JSON.stringify(args),
    question: false,
    schema: null,
    decisions: [],
    ...more,
    decided: signal<ApprovalResponseItem | null>(null),
  };
}

export function fakeAnswer(parts: Part[], status: Answer["status"]["value"] = "completed"): Writable<Answer> {
  const running = ["sending", "queued", "in_progress", "lost"].includes(status);
  return {
    parts: signal<readonly Part[]>(parts),
    status: signal(status),
    problem: signal<Problem | null>(null),
    sources: signal<readonly Source[]>([]),
    warnings: signal<readonly string[]>([]),
    startedAt: signal<number | null>(Date.now() / 1000),
    seconds: signal<number | null>(running ? null : 4.2),
    totalTokens: signal<number | null>(running ? null : 1234),
    goesOn: signal(false),
  };
}

export type FakeTurn = Writable<Turn> & { answer: Writable<Answer> };

export function fakeTurn(text: string, answer: Writable<Answer> = fakeAnswer([])): FakeTurn {
  return {
    key: nextId("turn"),
    responseId: signal<string | null>(nextId("resp")),
    text,
    attachments: [],
    model: "assistant",
    createdAt: Date.now() / 1000,
    answer,
    branches: signal({ index: 0, count: 1 }),
    feedback: signal<boolean | null>(null),
    traceUrl: signal<string | null>(null),
  };
}

export function fakeConversation(title: string | null, hoursAgo = 0, id = nextId("conv")): Conversation {
  const created_at = Date.now() / 1000 - hoursAgo * 3600;
  return { id, title, created_at, updated_at: created_at, metadata: {} };
}

/** A call of a method of the chat: its name and what was passed. */
export type Call = [name: string, ...args: unknown[]];

export interface FakeChat extends Writable<Omit<Chat, "open" | "conversations" | "memories" | "usage">> {
  open: Signal<
    OpenConversation & {
      turns: Signal<readonly Turn[]>;
      busy: Signal<boolean>;
      takesMore: Signal<boolean>;
      meanwhile: Signal<readonly SaidMeanwhile[]>;
      problem: Signal<Problem | null>;
    }
  >;
  conversations: Writable<Chat["conversations"]>;
  memories: Writable<Chat["memories"]>;
  usage: Writable<Chat["usage"]>;
  calls: Call[];
  /** What the next calls of methods do, by name. Without an entry they do nothing. */
  behavior: Map<string, (...args: never[]) => unknown>;
}

export const SETTINGS: PageSettings = {
  title: "Handbook",
  logo: false,
  color: null,
  color_dark: null,
  greeting: null,
  disclaimer: "Answers may be wrong. Check what matters.",
  sign_in: "none",
  version: "1.0",
};

export const MODEL: Model = {
  id: "assistant",
  name: "Assistant",
  description: "Answers questions about the handbook, and does sums.",
  example_questions: [
    "How many days of vacation do I have?",
    "Who signs travel requests?",
    "What is 12 × 37?",
  ],
  accepts: { images: false, files: false },
  default: true,
};

const node = (name: string, kind: "start" | "node" | "end" = "node") => ({
  id: name,
  name,
  kind,
  group: null,
});
const edge = (source: string, target: string, conditional = false) => ({
  source,
  target,
  conditional,
  label: null,
});

export const DRAWING: GraphDrawing = {
  id: "assistant",
  complete: true,
  nodes: [
    node("__start__", "start"),
    node("planner"),
    node("retriever"),
    node("tools"),
    node("__end__", "end"),
  ],
  edges: [
    edge("__start__", "planner"),
    edge("planner", "retriever", true),
    edge("planner", "tools", true),
    edge("planner", "__end__", true),
    edge("retriever", "planner"),
    edge("tools", "planner"),
  ],
};

export function fakeChat(turns: readonly Turn[] = [], entries: readonly Conversation[] = []): FakeChat {
  const calls: Call[] = [];
  const behavior: FakeChat["behavior"] = new Map();
  const record =
    (name: string) =>
    async (...args: unknown[]): Promise<void> => {
      calls.push([name, ...args]);
      await behavior.get(name)?.(...(args as never[]));
    };
  const answer =
    <T>(name: string, value: T) =>
    async (...args: unknown[]): Promise<T> => {
      await record(name)(...args);
      return value;
    };
  const open: FakeChat["open"]["value"] = {
    id: signal<string | null>(turns.length > 0 ? "conv_open" : null),
    turns: signal(turns),
    loading: signal(false),
    problem: signal<Problem | null>(null),
    busy: signal(false),
    hasEarlier: signal(false),
    earlier: record("earlier"),
    send: record("send"),
    stop: record("stop"),
    takesMore: signal(false),
    meanwhile: signal<readonly SaidMeanwhile[]>([]),
    say: record("say"),
    drop: record("drop"),
    regenerate: record("regenerate"),
    edit: record("edit"),
    showBranch: record("showBranch"),
    decide: record("decide"),
    recall: record("recall"),
    rate: record("rate"),
    close: record("close"),
  };
  return {
    calls,
    behavior,
    settings: signal(SETTINGS),
    signIn: signal<"ready" | "needed" | "refused">("ready"),
    enterToken: record("enterToken"),
    models: signal<readonly Model[]>([MODEL]),
    model: signal("assistant"),
    chooseModel: record("chooseModel"),
    graph: answer("graph", DRAWING),
    conversations: {
      entries: signal(entries),
      pinned: signal<readonly Conversation[]>([]),
      query: signal(""),
      hasMore: signal(false),
      loading: signal(false),
      problem: signal<Problem | null>(null),
      search: record("search"),
      more: record("more"),
      rename: record("rename"),
      pin: record("pin"),
      remove: record("remove"),
    },
    memories: {
      entries: signal<readonly Memory[]>([]),
      hasMore: signal(false),
      loading: signal(false),
      problem: signal<Problem | null>(null),
      load: record("load"),
      more: record("moreMemories"),
      change: record("change"),
      remove: record("removeMemory"),
      origin: answer("origin", null),
      forgetEverything: answer("forgetEverything", {
        responses: 12,
        conversations: 3,
        checkpoints: 12,
        memories: 5,
      }),
    },
    usage: {
      table: signal<UsageOfTokens | null>(null),
      problem: signal<Problem | null>(null),
      load: async () => {},
    },
    open: signal(open),
    show: record("show"),
    online: signal(true),
    connection: signal<"connecting" | "unreachable" | "ready">("ready"),
    reconnect: () => void calls.push(["reconnect"]),
  };
}
