/** The images and files that a message is going to have. */

import { computed, signal } from "@preact/signals";
import type { Attachment } from "../../conversation/model";
import { imageTypeOf, nameOf, readFile } from "./read";
import { bytesOf, encodedBytes, formatBytes, MOST, mostBytes, type Terms, takesNone } from "./terms";

/** Conversations whose images and files are kept, the one that is shown included. */
const MOST_KEPT = 5;

/** Words about files that were not added. */
const MOST_WORDS = 4;

export class Tray {
  readonly entries = signal<readonly Attachment[]>([]);
  /** Why files were not added. */
  readonly refusals = signal<readonly string[]>([]);
  private readonly waiting = signal(0);
  readonly reading = computed(() => this.waiting.value > 0);
  private last: Promise<void> = Promise.resolve();

  constructor(entries: readonly Attachment[] = []) {
    this.entries.value = entries;
  }

  /**
   * Add files, one after the other. Those that the graph or the service does not take are refused in words. Returns the
   * names of those that were added.
   */
  async add(files: readonly File[], terms: Terms, text: string): Promise<string[]> {
    if (files.length === 0) return [];
    const before = new Set(this.entries.peek());
    if (!this.reading.peek()) this.refusals.value = [];
    if (!terms.images && !terms.files) {
      this.refuse(takesNone(terms));
      return [];
    }
    this.waiting.value += files.length;
    for (const file of files) {
      this.last = this.last
        .then(() => this.addOne(file, terms, text))
        .then((refusal) => {
          if (refusal !== null) this.refuse(refusal);
          this.waiting.value -= 1;
        });
    }
    await this.last;
    return this.entries.peek().flatMap((one) => (before.has(one) ? [] : [one.name]));
  }

  remove(entry: Attachment): void {
    this.entries.value = this.entries.peek().filter((one) => one !== entry);
    this.refusals.value = [];
  }

  /** Take everything out, to send it. */
  take(): readonly Attachment[] {
    const taken = this.entries.peek();
    this.entries.value = [];
    this.refusals.value = [];
    return taken;
  }

  private refuse(words: string): void {
    const known = this.refusals.peek();
    if (known.includes(words)) return;
    if (known.length < MOST_WORDS) this.refusals.value = [...known, words];
    else this.refusals.value = [...known.slice(0, MOST_WORDS), "Others were not added."];
  }

  /** Adds a file, or returns why not. */
  private async addOne(file: File, terms: Terms, text: string): Promise<string | null> {
    const entries = this.entries.peek();
    if (entries.length >= MOST) return `A message takes at most ${MOST} images and files.`;
    const name = `“${nameOf(file)}”`;
    // Before it is read: what is too large for the service may be too large for the page.
    const room = terms.maxBytes - bytesOf(text, entries) - 300;
    if (encodedBytes(file.size) > room) {
      const most = `A message takes ${formatBytes(mostBytes(terms))} in all.`;
      return `${name} was not added: it is too large (${formatBytes(file.size)}). ${most}`;
    }
    try {
      const imageType = await imageTypeOf(file);
      if (file.size === 0) return `${name} was not added: it is empty.`;
      if (!terms.files && imageType === null) {
        return `${name} was not added: ${terms.assistant} takes images only, as PNG, JPEG, GIF or WebP.`;
      }
      const kind = imageType !== null && terms.images ? "image" : "file";
      const entry = await readFile(file, kind, imageType);
      this.entries.value = [...this.entries.peek(), entry];
      return null;
    } catch {
      return `${name} was not added: the browser cannot read it. Folders cannot be sent.`;
    }
  }
}

/** The trays of conversations. They last as long as the page, because they are too large for the browser's storage. */
export class Trays {
  private readonly trays = new Map<string, Tray>();

  /** The tray of a conversation; `null` is the one that has not begun. */
  of(conversation: string | null): Tray {
    const id = conversation ?? "";
    const known = this.trays.get(id);
    if (known !== undefined) return known;
    const made = new Tray();
    this.trays.set(id, made);
    for (const oldest of this.trays.keys()) {
      if (this.trays.size <= MOST_KEPT) break;
      this.trays.delete(oldest);
    }
    return made;
  }

  /** The conversation has begun, and what was added since belongs to it. */
  begun(conversation: string): void {
    this.trays.set(conversation, this.of(null));
    this.trays.delete("");
  }
}
