/** Parses a growing text in turns, at most one a frame. */

import type { GrowingDocument } from "./growing_document";
import { BUDGET, pace } from "./pace";

/** A turn that took longer than this, in milliseconds, is followed by a rest. */
const LONG = BUDGET * 1.5;

/** The rest is this many times as long as the turn, so that few frames are long ones. */
const REST = 24;

export class Turns {
  private waiting = false;
  private ended = false;
  private earliest = 0;

  /** `work` does one turn. */
  constructor(
    private readonly parsed: GrowingDocument,
    private readonly work: () => void,
  ) {}

  /** Take turns as long as there is text that was not parsed. */
  begin(): void {
    if (!this.waiting && !this.ended && !this.parsed.finished) {
      this.waiting = true;
      pace.add(this.take, this.parsed.resting ? Math.max(0, this.earliest - performance.now()) : 0);
    }
  }

  end(): void {
    this.ended = true;
    pace.remove(this.take);
  }

  private readonly take = async (): Promise<void> => {
    const began = performance.now();
    this.work();
    // What has changed is rendered in a microtask, and costs more than parsing.
    await Promise.resolve();
    const now = performance.now();
    this.earliest = now - began > LONG ? now + (now - began) * REST : 0;
    this.waiting = false;
    this.begin();
  };
}
