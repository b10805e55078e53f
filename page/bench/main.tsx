/** One answer that grows at a given speed. `bench/page` drives it. */

import { signal } from "@preact/signals";
import { render } from "preact";
import type { Citation } from "../src/conversation/model";
import { Markdown } from "../src/markdown/Markdown";
import "../src/styles/page.css";
import { DOCUMENTS } from "./documents";

export interface Bench {
  names: string[];
  text: (name: string) => string;
  /** Show the document, `rate` UTF-16 units a second, or all of it at once with 0. When nothing changes any more, `<html>` has `data-done`. */
  show: (name: string, rate: number, most: number) => Promise<void>;
}

const root = document.getElementById("app") as HTMLElement;

async function rest(): Promise<void> {
  for (let before = -1, still = 0; still < 8; ) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = root.getElementsByTagName("*").length;
    still = now === before ? still + 1 : 0;
    before = now;
  }
}

function grow(source: string, rate: number, take: (text: string) => void): Promise<void> {
  return new Promise((resolve) => {
    const began = performance.now();
    // As often as a stream delivers: about every 20 ms, whether or not a frame was drawn.
    const timer = setInterval(() => {
      const length = Math.ceil(((performance.now() - began) / 1000) * rate);
      take(source.slice(0, length));
      if (length >= source.length) {
        clearInterval(timer);
        resolve();
      }
    }, 20);
  });
}

/** A citation for each of the first markers, so that their cost counts. */
function citationsIn(source: string): Citation[] {
  return [...source.slice(0, 100_000).matchAll(/\[\d\]/g)].map((found) => ({
    start: found.index,
    end: found.index + 3,
    number: Number(found[0].charAt(1)),
    url: "https://docs.example/page",
    title: "A page of the manual",
    passage: "A passage of the page, as it was found. It may be long, and then it is cut.",
  }));
}

const bench: Bench = {
  names: Object.keys(DOCUMENTS),
  text: (name) => DOCUMENTS[name]?.() ?? "",
  async show(name, rate, most) {
    const source = (DOCUMENTS[name]?.() ?? "").slice(0, most);
    const text = signal("");
    const streaming = signal(true);
    render(null, root);
    render(<Markdown text={text} citations={signal(citationsIn(source))} streaming={streaming} />, root);
    if (rate > 0) {
      await grow(source, rate, (now) => {
        text.value = now;
        // As the page does while an answer streams.
        scrollTo(0, document.documentElement.scrollHeight);
      });
    } else {
      text.value = source;
    }
    streaming.value = false;
    await rest();
    document.documentElement.setAttribute("data-done", "");
  },
};

declare global {
  interface Window {
    bench: Bench;
  }
}

window.bench = bench;
