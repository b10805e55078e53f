/** Words for people about what went wrong, and what they can do. */

import type { Problem } from "../conversation/model";
import { ApiError, ConnectionLost } from "./http";
import { FrameTooLarge } from "./sse";

/** Codes of errors after which the same message cannot succeed. */
const FINAL = new Set([
  "approval_answered",
  "approval_needs_store",
  "approval_not_found",
  "approval_not_resumable",
  "body_too_large",
  "context_length_exceeded",
  "conversation_not_found",
  "idempotency_key_used",
  "invalid_request",
  "not_found",
  "unknown_graph",
  "unsupported_field",
]);

const WORDS: Record<string, string> = {
  approval_answered:
    "This was decided before, with another decision. The first one counts. Reload the page to see it.",
  approval_not_found: "This question does not wait any more. Reload the page to see what became of it.",
  body_too_large: "The message is too large for this service. Send a shorter one.",
  context_length_exceeded: "The conversation is too long for the model. Start a new one, or ask for less.",
  conversation_busy:
    "Another answer in this conversation is in progress. Wait until it has ended, then try again.",
  conversation_not_found:
    "There is no such conversation, or it is not yours. Choose one from the list, or start a new one.",
  foreign_page: "The service does not answer at this address. Use an address that its operator has allowed.",
  graph_failed: "The agent failed while it worked on this. Try again; if it fails again, tell the operator.",
  left_alone:
    "The answer was stopped, because this page was away for too long, or at another place. Try again.",
  model_failed: "The model did not answer as expected. Try again in a moment.",
  model_rate_limited: "The model is in demand just now. Try again in a minute.",
  model_timed_out: "The model took too long. Try again, or ask for less.",
  network: "The service cannot be reached. Check your connection, then try again.",
  no_trace: "This answer takes no feedback, because it has no trace.",
  not_ready: "The service is starting. Try again in a few seconds.",
  process_lost: "The service was interrupted while it answered. Try again.",
  rate_limit_exceeded: "You have used what you may use for now.",
  response_not_found: "This answer is not stored any more.",
  retrieval_failed: "The documents could not be searched. Try again in a moment.",
  response_already_completed: "The answer has just ended. Send the message now.",
  response_not_active: "The answer has just ended. Send the message now.",
  run_cancelled: "The answer was stopped.",
  service_stopping: "The service is restarting. Try again in a few seconds.",
  signed_out: "Your session has ended. Reload the page to sign in again.",
  steering_not_supported:
    "This answer takes no messages while it is written. Send it when the answer is there.",
  store_unavailable: "Conversations cannot be read or stored just now. Try again in a few seconds.",
  too_many_pending_steers: "Too many messages wait for this answer. Wait until it has gone on.",
  too_many_runs: "The service is busy with other answers.",
  trace_not_ready: "The answer is not ready for feedback yet. Try again in a few seconds.",
  trace_store_unavailable: "Feedback cannot be stored just now. Try again in a few seconds.",
  unauthenticated: "The service does not know who you are. Sign in again.",
  unknown_graph: "This agent is not served any more. Choose another one.",
  workspace_unavailable: "The workspace behind the service cannot be reached. Try again in a moment.",
};

/** What the page says about an error of its own requests. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ConnectionLost) return problem("network", null);
  if (error instanceof FrameTooLarge) {
    return {
      code: "too_large",
      message: "The answer is too large for this page.",
      detail: null,
      retryable: false,
    };
  }
  if (!(error instanceof ApiError)) {
    return {
      code: "page_failed",
      message: "The page failed. Reload it, and try again.",
      detail: null,
      retryable: true,
    };
  }
  const { code, status, retryAfter } = error;
  if (status === 401 && code !== "signed_out") return problem("unauthenticated", error.message);
  if (status === 413) return problem("body_too_large", error.message);
  const found = problem(code, error.message);
  if (WORDS[code] === undefined && error.message === "") found.message = wordsOfStatus(status);
  if (status === 429) found.message = `${found.message} Try again ${soon(retryAfter)}.`;
  return found;
}

/** Something that the reader asked for has failed. The message is for people. */
export class Failed extends Error {
  override readonly name = "Failed";
  readonly problem: Problem;

  constructor(cause: unknown) {
    const why = problemOf(cause);
    super(why.message, { cause });
    this.problem = why;
  }
}

/** What the page says about an error that ended a run. `message` is the service's own. */
export function problem(code: string, message: string | null): Problem {
  const words = WORDS[code];
  const own = message === null ? "" : sentence(message);
  return {
    code,
    // Ours says what a reader can do. The service's own sentence is often for its operator.
    message: words ?? (own === "" ? "The answer failed. Try again." : own),
    detail: words === undefined || own === "" ? null : own,
    retryable: !FINAL.has(code),
  };
}

function wordsOfStatus(status: number): string {
  if (status === 403) return "You may not use this service. Ask its operator for access.";
  if (status === 404) return "The service does not have what the page asked for. Reload the page.";
  if (status === 429) return "The service is busy.";
  if (status >= 500) return "The service does not answer just now. Try again in a moment.";
  return "The service refused the request. Reload the page, and try again.";
}

function soon(seconds: number | null): string {
  if (seconds === null) return "in a moment";
  if (seconds < 90) return `in ${seconds} second${seconds === 1 ? "" : "s"}`;
  if (seconds < 7_200) return `in ${Math.ceil(seconds / 60)} minutes`;
  return `in ${Math.ceil(seconds / 3_600)} hours`;
}

function sentence(text: string): string {
  const line = text.trim();
  if (line === "") return "";
  const begun = line.charAt(0).toUpperCase() + line.slice(1);
  return /[.!?…。！？]$/.test(begun) ? begun : `${begun}.`;
}
