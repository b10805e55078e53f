/** What graphs remember about the reader, and the deletion of all that is stored. */

import { batch, signal } from "@preact/signals";
import type { Api } from "../api/http";
import { Failed, problemOf } from "../api/problems";
import type { DeletedData, Memory, Page, ResponseObject } from "../api/wire";
import type { MemoryList, Problem } from "./model";

const AT_A_TIME = 50;

export class MemoriesState implements MemoryList {
  readonly entries = signal<readonly Memory[]>([]);
  readonly hasMore = signal(false);
  readonly loading = signal(false);
  readonly problem = signal<Problem | null>(null);

  constructor(
    private readonly api: Api,
    /** Called when the service has deleted everything. */
    private readonly forgotten: () => void,
  ) {}

  async load(): Promise<void> {
    await this.read(null);
  }

  async more(): Promise<void> {
    if (this.hasMore.peek()) await this.read(this.entries.peek().at(-1)?.id ?? null);
  }

  async change(id: string, text: string): Promise<void> {
    const changed = await this.attempt(
      this.api.json<Memory>("PATCH", `v1/memories/${encodeURIComponent(id)}`, { body: { text } }),
    );
    this.entries.value = this.entries.peek().map((one) => (one.id === id ? changed : one));
  }

  async remove(id: string): Promise<void> {
    await this.attempt(this.api.json("DELETE", `v1/memories/${encodeURIComponent(id)}`));
    this.entries.value = this.entries.peek().filter((one) => one.id !== id);
  }

  async origin(memory: Memory): Promise<string | null> {
    if (memory.response_id == null) return null;
    const path = `v1/responses/${encodeURIComponent(memory.response_id)}`;
    const response = await this.attempt(this.api.json<ResponseObject>("GET", path));
    return response.conversation?.id ?? null;
  }

  async forgetEverything(): Promise<DeletedData> {
    const { deleted } = await this.attempt(this.api.json<{ deleted: DeletedData }>("DELETE", "v1/me/data"));
    batch(() => {
      this.entries.value = [];
      this.hasMore.value = false;
      this.problem.value = null;
    });
    this.forgotten();
    return deleted;
  }

  private async read(after: string | null): Promise<void> {
    if (this.loading.peek()) return;
    this.loading.value = true;
    try {
      const page = await this.api.json<Page<Memory>>("GET", "v1/memories", {
        query: { limit: AT_A_TIME, after },
      });
      batch(() => {
        this.entries.value = after === null ? page.data : [...this.entries.peek(), ...page.data];
        this.hasMore.value = page.has_more;
        this.problem.value = null;
      });
    } catch (error) {
      this.problem.value = problemOf(error);
    } finally {
      this.loading.value = false;
    }
  }

  private async attempt<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      throw new Failed(error);
    }
  }
}
