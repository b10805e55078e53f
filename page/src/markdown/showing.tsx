/** For tests: an answer as the page shows it when all of it is there. */

import { signal } from "@preact/signals";
import { act, cleanup, render } from "@testing-library/preact";
import { vi } from "vitest";
import type { Citation } from "../conversation/model";
import { Markdown } from "./Markdown";
import { pace } from "./pace";

export interface Shown {
  container: HTMLElement;
  /** The markup in the answer, without the attributes that only style it. */
  html: () => string;
  grow: (text: string) => Promise<void>;
  end: () => Promise<void>;
  cite: (citations: Citation[]) => Promise<void>;
}

// The simulated browser draws a frame as soon as it can.
vi.stubGlobal("requestAnimationFrame", (call: FrameRequestCallback) =>
  setTimeout(() => call(performance.now())),
);
vi.stubGlobal("cancelAnimationFrame", (timer: ReturnType<typeof setTimeout>) => clearTimeout(timer));

export async function show(source: string, given: Citation[] = [], stream = false): Promise<Shown> {
  cleanup();
  const text = signal(source);
  const citations = signal<readonly Citation[]>(given);
  const streaming = signal(stream);
  const rendered = render(<Markdown text={text} citations={citations} streaming={streaming} />);
  const container = rendered.container as HTMLElement;
  const settled = async () => {
    do {
      await act(() => new Promise((resolve) => setTimeout(resolve, 1)));
    } while (!pace.idle);
  };
  await settled();
  return {
    container,
    html: () => markup(container),
    grow: async (now) => {
      text.value = now;
      await settled();
    },
    end: async () => {
      streaming.value = false;
      await settled();
    },
    cite: async (now) => {
      citations.value = now;
      await settled();
    },
  };
}

function markup(container: HTMLElement): string {
  const chunks = [...container.querySelectorAll(".md > .md-chunk")];
  return chunks
    .map((chunk) => chunk.innerHTML)
    .join("")
    .replace(/ (?:dir|title|rel|target|class|tabindex|aria-label)="[^"]*"/g, "")
    .replace(/<figcaption>.*?<\/figcaption>/g, "");
}
