/**
 * What the page shows, as signals: the contract between the state (`conversation/`), which talks to the service, and
 * the view (`ui/`), which talks to nobody. The view reads signals and calls the methods of `Chat` and of what it holds.
 */

import type { ReadonlySignal } from "@preact/signals";
import type {
  ApprovalResponseItem,
  Conversation,
  Decision,
  DeletedData,
  FoundDocument,
  GraphDrawing,
  Memory,
  Model,
  NodeStep,
  PageSettings,
  Source,
  Status,
  UsageOfTokens,
} from "../api/wire";

/** A citation in the text of a message. `start` and `end` count UTF-16 units of the text: JavaScript's own indices. */
export interface Citation {
  start: number;
  end: number;
  /** The number that readers see, equal for equal sources of an answer. */
  number: number;
  url: string;
  title: string;
  /** The passage that the citation stands for, if it is known. */
  passage: string | null;
}

export interface TextPart {
  kind: "text";
  id: string;
  /** Grows while it streams, and never changes otherwise. */
  text: ReadonlySignal<string>;
  citations: ReadonlySignal<readonly Citation[]>;
  phase: ReadonlySignal<"final_answer" | "commentary" | null>;
  refusal: boolean;
  streaming: ReadonlySignal<boolean>;
}

export interface ReasoningPart {
  kind: "reasoning";
  id: string;
  text: ReadonlySignal<string>;
  streaming: ReadonlySignal<boolean>;
  seconds: ReadonlySignal<number | null>;
}

export interface ToolPart {
  kind: "tool";
  id: string;
  name: string;
  /** JSON text, as far as it is known. */
  arguments: ReadonlySignal<string>;
  output: ReadonlySignal<string | null>;
  error: ReadonlySignal<string | null>;
  status: ReadonlySignal<"in_progress" | "completed" | "failed">;
  seconds: ReadonlySignal<number | null>;
}

export interface ApprovalPart {
  kind: "approval";
  id: string;
  name: string;
  arguments: string;
  /** Whether it is a question of the graph and not a call of a tool. */
  question: boolean;
  schema: Record<string, unknown> | null;
  decisions: readonly Decision[];
  /** What was decided, in this page or earlier; `null` while it waits. */
  decided: ReadonlySignal<ApprovalResponseItem | null>;
}

export interface StepPart {
  kind: "step";
  id: string;
  step: ReadonlySignal<NodeStep>;
  documents: ReadonlySignal<readonly { query: string; documents: readonly FoundDocument[] }[]>;
}

/** One thing of an answer, in the order in which it began. */
export type Part = TextPart | ReasoningPart | ToolPart | ApprovalPart | StepPart;

/** What went wrong. Methods of this contract that fail reject with an `Error` whose `message` is for people. */
export interface Problem {
  code: string;
  /** What happened and what to do, for the person who reads it. */
  message: string;
  /** What the service says about it, for those who run it, if that is something else. */
  detail?: string | null;
  /** Whether the same message may be sent again. */
  retryable: boolean;
}

export interface Answer {
  parts: ReadonlySignal<readonly Part[]>;
  /** `lost` means that the connection is gone and the page is trying to join the stream again. */
  status: ReadonlySignal<Status | "sending" | "lost">;
  problem: ReadonlySignal<Problem | null>;
  sources: ReadonlySignal<readonly Source[]>;
  warnings: ReadonlySignal<readonly string[]>;
  /** Seconds since 1970. */
  startedAt: ReadonlySignal<number | null>;
  seconds: ReadonlySignal<number | null>;
  totalTokens: ReadonlySignal<number | null>;
  /** Whether it goes on in the next answer, with what was said meanwhile. */
  goesOn: ReadonlySignal<boolean>;
}

/** An image or a file of a message. */
export interface Attachment {
  kind: "image" | "file";
  name: string;
  /** Its content as a `data:` URL. An image that another client has sent may have a web address. */
  url: string;
  /** How large its content is, if that is known. */
  bytes: number | null;
}

/** A message that was sent into an answer while it was written, until the next answer has it. */
export interface SaidMeanwhile {
  key: string;
  text: string;
  attachments: readonly Attachment[];
  /**
   * `queued` until the assistant's next step; `waiting` if the answer has ended and waits for the reader; `returned` if
   * the answer ended without it, and it must be sent again.
   */
  state: "sending" | "queued" | "waiting" | "returned";
}

/** A message of the user and its answer. A turn that only answers approvals has no text. */
export interface Turn {
  /** Stays the same for the life of the turn, for use as a key. */
  key: string;
  responseId: ReadonlySignal<string | null>;
  text: string;
  attachments: readonly Attachment[];
  model: string;
  /** Seconds since 1970. */
  createdAt: number;
  answer: Answer;
  /** The other turns that follow the same response: edits and regenerations, this one included, oldest first. */
  branches: ReadonlySignal<{ index: number; count: number }>;
  /** Whether the reader found the answer good, or `null` without feedback. */
  feedback: ReadonlySignal<boolean | null>;
  /** Where people look at the trace of the answer, if there is one and the operator has said where. */
  traceUrl: ReadonlySignal<string | null>;
}

export interface OpenConversation {
  /** `null` until the first message is sent. */
  id: ReadonlySignal<string | null>;
  /** The turns of the branch that is shown, oldest first. */
  turns: ReadonlySignal<readonly Turn[]>;
  loading: ReadonlySignal<boolean>;
  problem: ReadonlySignal<Problem | null>;
  /** Whether a run of this conversation is in progress. */
  busy: ReadonlySignal<boolean>;
  /** Whether there are turns before the first one of `turns`. Long conversations are read in pieces. */
  hasEarlier: ReadonlySignal<boolean>;
  /** Read earlier turns, and put them before the others. */
  earlier(): Promise<void>;
  /**
   * The methods that start a run resolve when its turn is shown; the answer goes on. While `busy` they reject, and
   * nothing is sent: keep the text.
   */
  send(text: string, attachments?: readonly Attachment[]): Promise<void>;
  stop(): Promise<void>;
  /** Whether a message can be sent into the answer that is being written. */
  takesMore: ReadonlySignal<boolean>;
  /** What was sent into answers and is in none yet, the oldest first. */
  meanwhile: ReadonlySignal<readonly SaidMeanwhile[]>;
  /** Send a message into the answer that is being written. Resolves when the service has it. */
  say(text: string, attachments?: readonly Attachment[]): Promise<void>;
  /** Forget a message that came back. */
  drop(message: SaidMeanwhile): void;
  /** Ask the message of the turn again, as another branch. After a failure this is "retry". */
  regenerate(turn: Turn): Promise<void>;
  /** Send another message in place of the turn's, as another branch. */
  edit(turn: Turn, text: string, attachments: readonly Attachment[]): Promise<void>;
  showBranch(turn: Turn, index: number): Promise<void>;
  /** Answer approvals of the turn. All or some of those that wait. */
  decide(turn: Turn, decisions: readonly ApprovalResponseItem[]): Promise<void>;
  /** Read what a stored response does not have: the documents that its searches found. Without them it does nothing. */
  recall(turn: Turn): Promise<void>;
  /** Say whether the answer was good. It replaces what was said before, with its comment. */
  rate(turn: Turn, value: boolean, comment: string | null): Promise<void>;
  /** Stop reading. The run goes on at the service. */
  close(): void;
}

export interface ConversationList {
  /** Without the pinned ones. */
  entries: ReadonlySignal<readonly Conversation[]>;
  pinned: ReadonlySignal<readonly Conversation[]>;
  query: ReadonlySignal<string>;
  hasMore: ReadonlySignal<boolean>;
  loading: ReadonlySignal<boolean>;
  problem: ReadonlySignal<Problem | null>;
  search(query: string): void;
  more(): Promise<void>;
  rename(id: string, title: string): Promise<void>;
  pin(id: string, pinned: boolean): Promise<void>;
  remove(id: string): Promise<void>;
}

export interface MemoryList {
  entries: ReadonlySignal<readonly Memory[]>;
  hasMore: ReadonlySignal<boolean>;
  loading: ReadonlySignal<boolean>;
  problem: ReadonlySignal<Problem | null>;
  /** Read the newest ones. */
  load(): Promise<void>;
  more(): Promise<void>;
  change(id: string, text: string): Promise<void>;
  remove(id: string): Promise<void>;
  /** The conversation in which it was saved, if that still exists. */
  origin(memory: Memory): Promise<string | null>;
  /** Delete everything of the reader that the service stores. Returns how much that was. */
  forgetEverything(): Promise<DeletedData>;
}

export interface Usage {
  /** Of the last 30 days. `null` until it is read. */
  table: ReadonlySignal<UsageOfTokens | null>;
  problem: ReadonlySignal<Problem | null>;
  load(): Promise<void>;
}

export interface Chat {
  settings: ReadonlySignal<PageSettings>;
  /** Whether the page needs a token, and whether the one it has was refused. */
  signIn: ReadonlySignal<"ready" | "needed" | "refused">;
  enterToken(token: string): Promise<void>;
  models: ReadonlySignal<readonly Model[]>;
  model: ReadonlySignal<string>;
  chooseModel(id: string): void;
  /** The nodes and edges of a graph. */
  graph(id: string): Promise<GraphDrawing>;
  conversations: ConversationList;
  memories: MemoryList;
  usage: Usage;
  open: ReadonlySignal<OpenConversation>;
  /** Open a conversation, or with `null` a new one. The address of the page follows: `#/c/{id}`. */
  show(id: string | null): Promise<void>;
  online: ReadonlySignal<boolean>;
  /** Whether the service has answered. While it cannot be reached, the page asks again by itself. */
  connection: ReadonlySignal<"connecting" | "unreachable" | "ready">;
  /** Ask a service that cannot be reached again at once. */
  reconnect(): void;
}
