/** Parses a growing text in turns, at most one a frame. */

import type { GrowingDocument } from "./growing_document";
import { BUDGET, pace } from "./pace";

/** After a turn that took long, the next one waits this many times as long. */
const REST = 12;

export class Turns {
  private waiting = false;
  private earliest = 0;

  /** `work` does one turn. */
  constructor(
    private readonly parsed: GrowingDocument,
    private readonly work: () => void,
  ) {}

  /** Take turns as long as there is text that was not parsed. */
  begin(): void {
    if (!this.waiting && !this.parsed.finished) {
      this.waiting = true;
      pace.add(this.take, Math.max(0, this.earliest - performance.now()));
    }
  }

  end(): void {
    this.waiting = false;
    pace.remove(this.take);
  }

  private readonly take = (): void => {
    this.waiting = false;
    const began = performance.now();
    this.work();
    const took = performance.now() - began;
    this.earliest = took > BUDGET * 1.5 ? performance.now() + took * REST : 0;
    this.begin();
  };
}
