/** What the reader says while an answer is written: it waits at the service until the next answer has it. */

import { signal } from "@preact/signals";
import type { Api } from "../api/http";
import { Failed } from "../api/problems";
import type { Attachment, SaidMeanwhile } from "./model";
import { asSent, attachmentsIn, type InputItem, saidIn } from "./turn";

/** An entry of `GET …/responses/{id}/steer`. */
interface Steer {
  id: string;
  status: "queued" | "pending" | "taken" | "failed";
  input: InputItem[];
}

interface Entry extends SaidMeanwhile {
  /** The address of the response that it was sent to. */
  address: string;
  /** What the service calls it. `null` while it is sent. */
  id: string | null;
  items: readonly InputItem[];
}

interface Message {
  address: string;
  item: InputItem;
  key: string;
  text: string;
  attachments: readonly Attachment[];
}

export class Meanwhile {
  readonly entries = signal<readonly Entry[]>([]);
  private readonly sending = new Set<Promise<unknown>>();

  constructor(
    private readonly api: Api,
    private readonly signal: AbortSignal,
  ) {}

  /** Send a message into an answer. Resolves when the service has it, and throws `Failed` if it has not. */
  async send({ address, item, key, text, attachments }: Message): Promise<void> {
    this.entries.value = [
      ...this.entries.peek(),
      { key, text, attachments, state: "sending", address, id: null, items: [item] },
    ];
    const sent = this.api.json<Steer>("POST", `${address}/steer`, {
      body: { input: [item] },
      headers: { "idempotency-key": key },
      signal: this.signal,
    });
    this.sending.add(sent);
    try {
      const { id } = await sent;
      // `restore` may have found it at the same time.
      this.change((one) => (one.key === key ? { ...one, id, state: "queued" } : one.id === id ? null : one));
    } catch (error) {
      this.change((one) => (one.key === key ? null : one));
      throw new Failed(error);
    } finally {
      this.sending.delete(sent);
    }
  }

  /** Show what waits for the answer at this address, or behind it, since before the page was loaded. When the list of it
   * comes, `isLast` says whether nothing has followed that answer meanwhile, which would have taken it along. */
  async restore(address: string, isLast: () => boolean): Promise<void> {
    const listed = this.api.json<{ data: Steer[] }>("GET", `${address}/steer`, { signal: this.signal });
    const restored = listed.then(({ data }) => {
      if (!isLast()) return;
      const known = new Set(this.entries.peek().map((one) => one.id));
      const found = data.filter((one) => isWaiting(one) && !known.has(one.id));
      this.entries.value = [...found.map((one) => entryOf(one, address)), ...this.entries.peek()];
    });
    this.sending.add(restored);
    try {
      await restored;
    } finally {
      this.sending.delete(restored);
    }
  }

  /** Whether something waits for the answer at this address. What is being sent has arrived then. */
  async waitsFor(address: string): Promise<boolean> {
    await Promise.allSettled([...this.sending]);
    return this.entries.peek().some((one) => one.address === address);
  }

  /** The answer at this address has ended: ask what became of its messages. */
  async settle(address: string): Promise<void> {
    const { data } = await this.api.json<{ data: Steer[] }>("GET", `${address}/steer`, {
      signal: this.signal,
    });
    const became = new Map(data.map((one) => [one.id, one.status]));
    this.change((one) => {
      const status = one.id === null || one.address !== address ? undefined : became.get(one.id);
      if (status === "taken") return null;
      return status === undefined ? one : { ...one, state: status === "failed" ? "returned" : "waiting" };
    });
  }

  /** Forget what waits behind the answer at this address, because a request follows it. The request takes it along. */
  take(address: string): InputItem[] {
    const taken = this.entries.peek().filter((one) => one.address === address && one.state === "waiting");
    this.change((one) => (taken.includes(one) ? null : one));
    return taken.flatMap((one) => one.items);
  }

  /** Forget a message. */
  drop(message: SaidMeanwhile): void {
    this.change((one) => (one.key === message.key ? null : one));
  }

  private change(to: (one: Entry) => Entry | null): void {
    this.entries.value = this.entries.peek().flatMap((one) => to(one) ?? []);
  }
}

function isWaiting(steer: Steer): boolean {
  return steer.status === "queued" || steer.status === "pending";
}

function entryOf(steer: Steer, address: string): Entry {
  const items = asSent(steer.input);
  return {
    key: steer.id,
    id: steer.id,
    text: saidIn(items),
    attachments: attachmentsIn(items),
    state: steer.status === "pending" ? "waiting" : "queued",
    address,
    items,
  };
}
