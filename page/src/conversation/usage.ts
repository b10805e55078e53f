/** How many tokens the reader has used, and for operators, who has used how many. */

import { signal } from "@preact/signals";
import type { Api } from "../api/http";
import { problemOf } from "../api/problems";
import type { UsageOfTokens } from "../api/wire";
import type { Problem, Usage } from "./model";

export class UsageState implements Usage {
  readonly table = signal<UsageOfTokens | null>(null);
  readonly problem = signal<Problem | null>(null);

  constructor(private readonly api: Api) {}

  async load(): Promise<void> {
    try {
      this.table.value = await this.api.json<UsageOfTokens>("GET", "v1/usage");
      this.problem.value = null;
    } catch (error) {
      this.problem.value = problemOf(error);
    }
  }
}
