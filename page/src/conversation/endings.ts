/** How a response ended: what went wrong, and how long it took. */

import { problem } from "../api/problems";
import type { ResponseObject } from "../api/wire";
import type { Problem } from "./model";

/** What the reader must know about the end of a response. `null` if it is complete. */
export function problemIn(response: ResponseObject): Problem | null {
  if (response.status === "failed") {
    return problem(response.error?.code ?? "failed", response.error?.message ?? null);
  }
  if (response.status !== "incomplete") return null;
  const { reason, message } = response.incomplete_details ?? { reason: "" };
  // Something was said meanwhile, and the next answer goes on.
  if (reason === "steered") return null;
  const words =
    reason === "content_filter"
      ? "A filter of the model's provider ended the answer."
      : reason === "user_token_required"
        ? "The answer waits until you are signed in again. Reload the page."
        : "The answer was cut off, because it reached a limit.";
  return { code: reason || "incomplete", message: words, detail: message ?? null, retryable: true };
}

/** How many seconds the run took, if that is known. */
export function secondsOf(response: ResponseObject): number | null {
  const steps = response.custom_outputs?.steps ?? [];
  if (steps.length > 0) {
    const ends = steps.map((step) => step.started_at + (step.seconds ?? 0));
    return Math.max(0, Math.max(...ends) - Math.min(...steps.map((step) => step.started_at)));
  }
  return response.completed_at == null ? null : Math.max(0, response.completed_at - response.created_at);
}
