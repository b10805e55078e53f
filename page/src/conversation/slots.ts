/** The items and steps of an answer, in the order in which they began. */

import { computed, signal } from "@preact/signals";
import { type PartState, StepState } from "./parts";

/** An item of the output, or a step, in the place where it began. */
export interface Slot {
  id: string;
  parts: PartState[];
}

export class Slots {
  private readonly order = signal<readonly Slot[]>([]);
  private readonly byId = new Map<string, Slot>();
  readonly parts = computed(() => this.order.value.flatMap((slot) => slot.parts));

  get(id: string): Slot | undefined {
    return this.byId.get(id);
  }

  /** The slot with this id, which is made if there is none. */
  open(id: string): Slot {
    const found = this.byId.get(id);
    if (found !== undefined) return found;
    const made: Slot = { id, parts: [] };
    this.byId.set(id, made);
    this.order.value = [...this.order.peek(), made];
    return made;
  }

  /** The slot has another id, too. */
  alias(id: string, slot: Slot): void {
    this.byId.set(id, slot);
  }

  add<T extends PartState>(slot: Slot, part: T): T {
    slot.parts.push(part);
    this.order.value = [...this.order.peek()];
    return part;
  }

  keep(wanted: (slot: Slot) => boolean): void {
    const kept = this.order.peek().filter(wanted);
    if (kept.length === this.order.peek().length) return;
    for (const [id, slot] of this.byId) {
      if (!kept.includes(slot)) this.byId.delete(id);
    }
    this.order.value = kept;
  }

  discard(ids: readonly string[]): void {
    const gone = new Set(ids.map((id) => this.byId.get(id)));
    this.keep((slot) => !gone.has(slot));
  }

  clear(): void {
    this.byId.clear();
    this.order.value = [];
  }
}

export function isStep(slot: Slot): boolean {
  return slot.parts[0] instanceof StepState;
}
