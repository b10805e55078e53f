/**
 * Highlights code in a worker. Grammars are regular expressions, some take very long on some code, and nothing but the
 * end of a worker stops one.
 */

import type { CodeToken } from "./grammars";
import type { Language } from "./languages";

/** Longer code is shown without colors, in UTF-16 units. */
export const LONGEST_CODE = 50_000;

/** How long the worker may take for one block, in milliseconds. The first includes its start. */
const PATIENCE = 5_000;

export interface Asked {
  id: number;
  code: string;
  language: Language;
}

interface Answered {
  id: number;
  tokens: CodeToken[];
}

let worker: Worker | null = null;
let turn: Promise<unknown> = Promise.resolve();
let lastId = 0;

/** The tokens of the code, or `null` if it cannot be highlighted here or takes too long. Never fails. */
export function highlighted(code: string, language: Language): Promise<CodeToken[] | null> {
  if (code.length > LONGEST_CODE || typeof Worker === "undefined") {
    return Promise.resolve(null);
  }
  const answer = turn.then(() => ask(code, language));
  turn = answer;
  return answer;
}

function ask(code: string, language: Language): Promise<CodeToken[] | null> {
  return new Promise((resolve) => {
    worker ??= new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    const asked = worker;
    const id = ++lastId;
    const finish = (tokens: CodeToken[] | null) => {
      clearTimeout(timer);
      asked.removeEventListener("message", onMessage);
      asked.removeEventListener("error", onError);
      if (tokens === null) {
        asked.terminate();
        worker = null;
      }
      resolve(tokens);
    };
    const onMessage = (event: MessageEvent<Answered>) => {
      if (event.data.id === id) {
        finish(event.data.tokens);
      }
    };
    const onError = () => finish(null);
    const timer = setTimeout(onError, PATIENCE);
    asked.addEventListener("message", onMessage);
    asked.addEventListener("error", onError);
    asked.postMessage({ id, code, language } satisfies Asked);
  });
}
