/** Shows long things little by little, so that no frame of the browser takes long. */

import { createContext } from "preact";
import { useContext, useLayoutEffect, useState } from "preact/hooks";

/** How much of a frame may be spent, in milliseconds. The rest is for layout and painting. */
export const BUDGET = 5;

type Job = () => unknown;

/** Calls back before the next frame, or soon where no frames are drawn, as in a tab in the background. */
function beforeNextFrame(call: () => void): void {
  let done = false;
  const once = () => {
    if (!done) {
      done = true;
      cancelAnimationFrame(frame);
      clearTimeout(timer);
      call();
    }
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, 250);
}

/**
 * Runs jobs of all answers of the page, each frame as many as fit. The job that was added last comes first: it belongs
 * to the newest answer, which is the one in sight when a conversation is opened.
 */
class Pace {
  private jobs: Job[] = [];
  private running = false;
  private began: number | null = null;

  private later = new Map<Job, ReturnType<typeof setTimeout>>();

  /** Whether nothing waits to be done. */
  get idle(): boolean {
    return this.jobs.length === 0 && this.later.size === 0 && !this.running;
  }

  /** Run the job before the next frame, or after `wait` milliseconds. */
  add(job: Job, wait = 0): void {
    if (wait > 0) {
      const timer = setTimeout(() => {
        this.later.delete(job);
        this.add(job);
      }, wait);
      this.later.set(job, timer);
      return;
    }
    this.jobs.push(job);
    if (!this.running) {
      this.running = true;
      beforeNextFrame(() => void this.run());
    }
  }

  remove(job: Job): void {
    clearTimeout(this.later.get(job));
    this.later.delete(job);
    const at = this.jobs.lastIndexOf(job);
    if (at >= 0) {
      this.jobs.splice(at, 1);
    }
  }

  /** Whether there is time to do something at once, while the page is shown and before the next frame. */
  hasTime(): boolean {
    const now = performance.now();
    if (this.began === null) {
      this.began = now;
      setTimeout(() => {
        this.began = null;
      });
    }
    return now - this.began < BUDGET * 2;
  }

  private async run(): Promise<void> {
    const deadline = performance.now() + BUDGET;
    do {
      this.jobs.pop()?.();
      // Components are rendered in microtasks, so that their time counts only when these have run.
      await Promise.resolve();
      await Promise.resolve();
    } while (this.jobs.length > 0 && performance.now() < deadline);
    this.running = this.jobs.length > 0;
    if (this.running) {
      beforeNextFrame(() => void this.run());
    }
  }
}

export const pace = new Pace();

/** What limits how much of an answer is shown. */
export interface Limit {
  /** Whether enough is shown until the reader asks for more. A component that asks is shown again when that changes. */
  full: () => boolean;
  /** Look whether enough is shown. */
  check: () => boolean;
}

export const LimitContext = createContext<Limit>({ full: () => false, check: () => false });

/** How many of `total` things to show now: `first` at first, and more with each frame. */
export function useGradually(total: number, first: number): number {
  const { full, check } = useContext(LimitContext);
  const [shown, setShown] = useState(first);
  const waits = shown < total && !full();
  // Not `useEffect`, which waits for the next frame: several steps fit into one.
  useLayoutEffect(() => {
    if (!waits) {
      return;
    }
    const job = () => {
      if (!check()) {
        setShown(shown + 1);
      }
    };
    pace.add(job);
    return () => pace.remove(job);
  }, [waits, shown, check]);
  return Math.min(shown, total);
}
