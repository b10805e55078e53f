import { type ReadonlySignal, signal } from "@preact/signals";

let timer: ReturnType<typeof setInterval> | undefined;

/** The time in seconds since 1970. It moves each half second, and only while something shows it. */
export const now: ReadonlySignal<number> = signal(Date.now() / 1000, {
  watched() {
    const tick = () => {
      (now as { value: number }).value = Date.now() / 1000;
    };
    tick();
    timer = setInterval(tick, 500);
  },
  unwatched() {
    clearInterval(timer);
  },
});
