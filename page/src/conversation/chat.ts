/** Puts the state of the page together. */

import { batch, signal } from "@preact/signals";
import { Api, ApiError, ConnectionLost } from "../api/http";
import { Failed } from "../api/problems";
import type { GraphDrawing, Model, PageSettings } from "../api/wire";
import { addressOfConversation, conversationIn } from "./address";
import { ListState } from "./list";
import { MemoriesState } from "./memories";
import type { Chat } from "./model";
import { ConversationState } from "./session";
import { browserSurroundings, type Surroundings } from "./surroundings";
import { UsageState } from "./usage";

const TOKEN = "graph-agent-token";

/** Conversations whose answers go on while another one is shown. A browser opens six connections. */
const MOST_KEPT = 3;

/** Milliseconds until a service that did not answer is asked again: the first time, and at most. */
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

const UNKNOWN: PageSettings = {
  title: "graph-agent",
  logo: false,
  color: null,
  color_dark: null,
  greeting: null,
  disclaimer: null,
  sign_in: "none",
  version: "",
};

/** The state of the page in this browser. */
export function createChat(surroundings: Surroundings = browserSurroundings(window)): ChatState {
  const chat = new ChatState(surroundings);
  void chat.start();
  return chat;
}

export class ChatState implements Chat {
  readonly settings = signal(UNKNOWN);
  readonly signIn = signal<"ready" | "needed" | "refused">("ready");
  readonly models = signal<readonly Model[]>([]);
  readonly model = signal("");
  readonly connection = signal<"connecting" | "unreachable" | "ready">("connecting");
  readonly online;
  readonly conversations: ListState;
  readonly memories: MemoriesState;
  readonly usage: UsageState;
  readonly open;
  private readonly api: Api;
  /** Conversations that are not shown, and whose runs would end without a reader. */
  private readonly kept = new Set<ConversationState>();
  /** Ends the pause before the next try. */
  private wake = () => {};

  constructor(private readonly surroundings: Surroundings) {
    this.api = new Api({
      fetch: surroundings.fetch,
      base: surroundings.base,
      token: () => surroundings.session.getItem(TOKEN),
      refused: (error, token) => this.refused(error, token),
    });
    this.online = signal(surroundings.presence.online());
    this.conversations = new ListState(
      this.api,
      surroundings.clock,
      (id) => {
        if (this.open.peek().id.peek() === id) void this.show(null);
      },
      (id) => this.end(id),
    );
    this.usage = new UsageState(this.api);
    this.memories = new MemoriesState(this.api, () => {
      void this.show(null);
      void this.conversations.refresh();
    });
    this.open = signal<ConversationState>(this.begin());
  }

  /** Read everything that the page shows first. */
  async start(): Promise<void> {
    const { address, presence } = this.surroundings;
    address.listen(() => void this.addressed());
    presence.listen(() => {
      this.online.value = presence.online();
      if (presence.online()) this.wake();
      if (this.connection.peek() !== "ready") return;
      if (presence.online() && presence.visible() && this.signIn.peek() === "ready") {
        void this.open.peek().refresh();
        void this.conversations.refresh();
        if (this.models.peek().length === 0) void this.readModels();
      }
    });
    await this.persistently(() => this.readSettings());
    if (this.settings.peek().sign_in === "token" && this.surroundings.session.getItem(TOKEN) === null) {
      this.signIn.value = "needed";
      this.connection.value = "ready";
      return;
    }
    await this.readAll();
  }

  reconnect(): void {
    this.wake();
  }

  async enterToken(token: string): Promise<void> {
    this.surroundings.session.setItem(TOKEN, token.trim());
    try {
      await this.api.json("GET", "v1/conversations", { query: { limit: 1 } });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return;
    }
    this.signIn.value = "ready";
    await this.readAll();
  }

  chooseModel(id: string): void {
    this.model.value = id;
  }

  async graph(id: string): Promise<GraphDrawing> {
    try {
      return await this.api.json<GraphDrawing>("GET", `v1/models/${encodeURIComponent(id)}/graph`);
    } catch (error) {
      throw new Failed(error);
    }
  }

  async show(id: string | null): Promise<void> {
    const now = this.open.peek();
    const isShown = now.id.peek() === id && (id !== null || now.turns.peek().length === 0);
    if (isShown && now.problem.peek() === null) return;
    this.surroundings.address.write(addressOfConversation(id), "push");
    // What kept the conversation from being read did the same to the rest.
    if (now.problem.peek()?.code === "network") {
      void this.conversations.refresh();
      if (this.models.peek().length === 0) void this.readModels();
    }
    await this.put(id);
  }

  /** The reader has gone back or forward, or typed an address. */
  private async addressed(): Promise<void> {
    const id = conversationIn(this.surroundings.address.read());
    if (id !== this.open.peek().id.peek()) await this.put(id);
  }

  private async put(id: string | null): Promise<void> {
    this.leave(this.open.peek());
    const kept = [...this.kept].find((one) => id !== null && one.id.peek() === id);
    if (kept !== undefined) {
      this.kept.delete(kept);
      this.open.value = kept;
      return;
    }
    const made = this.begin();
    this.open.value = made;
    if (id === null) return;
    await made.open(id);
    if (this.open.peek() === made) this.followModel(made);
  }

  private leave(conversation: ConversationState): void {
    if (!conversation.busy.peek()) {
      conversation.close();
      return;
    }
    this.kept.add(conversation);
    const [oldest] = this.kept;
    if (this.kept.size > MOST_KEPT && oldest !== undefined) {
      this.kept.delete(oldest);
      oldest.close();
    }
  }

  private begin(): ConversationState {
    const made: ConversationState = new ConversationState({
      api: this.api,
      surroundings: this.surroundings,
      model: () => this.model.peek(),
      traceLinks: () => this.settings.peek().trace_links === true,
      named: (id) => {
        if (this.open.peek() === made) this.surroundings.address.write(addressOfConversation(id), "replace");
      },
      changed: () => {
        if (this.kept.has(made) && !made.busy.peek()) {
          this.kept.delete(made);
          made.close();
        }
        void this.conversations.refresh();
      },
    });
    return made;
  }

  private async end(id: string): Promise<void> {
    const running = [this.open.peek(), ...this.kept].find((one) => one.id.peek() === id && one.busy.peek());
    // If the run cannot be stopped, the service says why the conversation cannot be deleted.
    await running?.stop().catch(() => {});
  }

  /** A conversation goes on with the graph that answered last. */
  private followModel(conversation: ConversationState): void {
    const last = conversation.turns.peek().at(-1)?.model;
    if (last !== undefined && this.models.peek().some((one) => one.id === last)) this.model.value = last;
  }

  /** Try until the service has answered. `attempt` tells whether it has. */
  private async persistently(attempt: () => Promise<boolean>): Promise<void> {
    for (let pause = FIRST_PAUSE_MS; !(await attempt()); pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      this.connection.value = "unreachable";
      await new Promise<void>((resume) => {
        const forget = this.surroundings.clock.after(pause, resume);
        this.wake = () => {
          forget();
          resume();
        };
      });
      this.wake = () => {};
    }
  }

  private async readSettings(): Promise<boolean> {
    try {
      const found = await this.api.json<Partial<PageSettings>>("GET", "page/settings.json");
      this.settings.value = { ...UNKNOWN, ...found };
      return true;
    } catch (error) {
      // Whether to ask for a token depends on them.
      return !passes(error);
    }
  }

  private async readAll(): Promise<void> {
    const open = this.open.peek();
    // A message that was refused for its token stays, so that it can be sent again.
    const shown = open.hasUnsent
      ? open.refresh()
      : this.put(conversationIn(this.surroundings.address.read()));
    let first = true;
    const read = async () => {
      const [answered] = await Promise.all([this.readModels(), this.conversations.refresh()]);
      const now = this.open.peek();
      if (!first && answered && now.problem.peek()?.code === "network") await this.put(now.id.peek());
      first = false;
      return answered;
    };
    await Promise.all([this.persistently(read), shown]);
    this.connection.value = "ready";
    this.followModel(this.open.peek());
  }

  /** Returns whether the service has answered. */
  private async readModels(): Promise<boolean> {
    try {
      const { data } = await this.api.json<{ data: Model[] }>("GET", "v1/models");
      batch(() => {
        this.models.value = data;
        const known = data.some((one) => one.id === this.model.peek());
        const ready = data.filter((one) => one.available !== false);
        if (!known) this.model.value = (ready.find((one) => one.default) ?? ready[0] ?? data[0])?.id ?? "";
      });
      return true;
    } catch (error) {
      // Without a choice the default graph answers.
      return !passes(error);
    }
  }

  private refused(error: ApiError, token: string | null): void {
    if (this.settings.peek().sign_in !== "token" || error.code === "signed_out") return;
    // An answer to an old request may come after the reader has entered another token.
    if (token !== this.surroundings.session.getItem(TOKEN)) return;
    this.surroundings.session.removeItem(TOKEN);
    this.signIn.value = "refused";
  }
}

/** Whether a request may succeed later: nobody has answered, or a service that starts or stops. */
function passes(error: unknown): boolean {
  return error instanceof ConnectionLost || (error instanceof ApiError && error.status >= 500);
}
