export interface Box {
  scrollTop: number;
  scrollHeight: number;
  clientHeight: number;
}

const NEAR = 40;

/**
 * Whether a list that grows follows its end. It does until the reader scrolls up, and again when the reader is back at
 * the end. That the list grows or shrinks does not count as scrolling.
 */
export class Sticky {
  #follows = true;
  #lastTop = 0;

  get follows(): boolean {
    return this.#follows;
  }

  /** Tell that the place has changed. Returns whether the list follows its end from now on. */
  scrolled(box: Box): boolean {
    const left = box.scrollHeight - box.clientHeight - box.scrollTop;
    if (left <= NEAR) this.#follows = true;
    else if (box.scrollTop < this.#lastTop - 1) this.#follows = false;
    this.#lastTop = box.scrollTop;
    return this.#follows;
  }

  /** Where to scroll now that the size has changed, or `null` to stay. */
  resized(box: Box): number | null {
    return this.#follows ? box.scrollHeight - box.clientHeight : null;
  }

  /** Follow the end from now on. */
  follow(): void {
    this.#follows = true;
  }
}
