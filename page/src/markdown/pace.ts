/** Shows long things little by little, so that no frame of the browser takes long. */

import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";

/** How much of a frame may be spent, in milliseconds. The rest is for layout and painting. */
export const BUDGET = 5;

type Job = () => void;

/** Calls back before the next frame, or soon where no frames are drawn, as in a tab in the background. */
function beforeNextFrame(call: () => void): () => void {
  let done = false;
  const once = () => {
    if (!done) {
      done = true;
      cancel();
      call();
    }
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, 250);
  const cancel = () => {
    done = true;
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
  return cancel;
}

/** Runs jobs in turn, each frame as many as fit. Each job changes the state of a component, at most once a turn. */
export class Pace {
  private jobs: Job[] = [];
  private running = false;
  private cancel: () => void = () => undefined;

  add(job: Job): void {
    this.jobs.push(job);
    if (!this.running) {
      this.running = true;
      this.cancel = beforeNextFrame(() => void this.run());
    }
  }

  remove(job: Job): void {
    this.jobs = this.jobs.filter((one) => one !== job);
  }

  stop(): void {
    this.cancel();
    this.jobs = [];
    this.running = false;
  }

  private async run(): Promise<void> {
    const deadline = performance.now() + BUDGET;
    do {
      this.jobs.shift()?.();
      // Components are rendered in microtasks, so that their time counts only when these have run.
      await Promise.resolve();
      await Promise.resolve();
    } while (this.jobs.length > 0 && performance.now() < deadline);
    this.running = this.jobs.length > 0;
    if (this.running) {
      this.cancel = beforeNextFrame(() => void this.run());
    }
  }
}

/** What limits how much of an answer is shown. */
export interface Limit {
  pace: Pace;
  /** Whether enough is shown until the reader asks for more. A component that asks is shown again when that changes. */
  full: () => boolean;
  /** Look whether enough is shown. */
  check: () => boolean;
}

export const LimitContext = createContext<Limit>({ pace: new Pace(), full: () => false, check: () => false });

/** How many of `total` things to show now: `first` at first, and more with each frame. */
export function useGradually(total: number, first: number): number {
  const { pace, full, check } = useContext(LimitContext);
  const [shown, setShown] = useState(first);
  const waits = shown < total && !full();
  useEffect(() => {
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
  }, [waits, shown, pace, check]);
  return Math.min(shown, total);
}
