/** One open conversation: its turns, and the runs that answer them. */

import { computed, effect, type ReadonlySignal, signal } from "@preact/signals";
import type { Api } from "../api/http";
import { Failed, problemOf } from "../api/problems";
import type { ApprovalResponseItem, ResponseEntry } from "../api/wire";
import { AnswerState } from "./answer";
import { Decisions } from "./decisions";
import { Meanwhile } from "./meanwhile";
import type { Attachment, OpenConversation, Problem, SaidMeanwhile, Turn } from "./model";
import { Reading } from "./reading";
import { addressOf, Run } from "./run";
import type { Surroundings } from "./surroundings";
import { Tree, type TreeNode } from "./tree";
import { asSent, decisionsIn, type InputItem, TurnState, userMessage } from "./turn";

/** Turns that are read at a time. */
const AT_A_TIME = 12;

/** Pages of 100 responses that are read for the counts of branches, without being asked for. */
const PAGES_AHEAD = 20;

/** Errors that mean that somebody else has gone on with the conversation. */
const ELSEWHERE = new Set(["conversation_busy", "approval_answered"]);

/** The most characters of the text of documents that are kept of the events of a stored response. */
const MOST_RECALLED = 2_000_000;

/** A message was sent while another one is being answered. The page keeps the text. */
export class StillAnswering extends Error {
  override readonly name = "StillAnswering";
}

export interface SessionOptions {
  api: Api;
  surroundings: Surroundings;
  /** The graph that answers the next message. Empty means the default one. */
  model: () => string;
  /** The conversation has got its id, which a new one does with its first response. */
  named: (id: string) => void;
  /** A turn has begun or ended, so that the list of conversations has changed. */
  changed: () => void;
  /** Whether answers have the address of their trace. */
  traceLinks: () => boolean;
}

/** A request that may be sent again with the same key: the service finds the run, if it has begun. */
interface Request {
  body: Record<string, unknown>;
  key: string;
  /** Whether it was to follow the end of a branch, so that it follows what others add there. */
  atEnd: boolean;
  /** Whether the service has said that it does not run. */
  refused: boolean;
}

export class ConversationState implements OpenConversation {
  readonly id = signal<string | null>(null);
  readonly turns = signal<readonly TurnState[]>([]);
  readonly loading = signal(false);
  readonly problem = signal<Problem | null>(null);
  readonly hasEarlier = signal(false);
  private readonly running = signal<ReadonlyMap<TreeNode, Run>>(new Map());
  readonly busy = computed(() => this.running.value.size > 0);
  readonly takesMore = computed(() => this.written() !== null);

  private readonly tree = new Tree();
  private tip: TreeNode | null = null;
  /** How many turns of the branch are shown, from its end. */
  private shown = AT_A_TIME;
  private after: string | null = null;
  private hasMoreEntries = false;
  private readonly requests = new Map<TreeNode, Request>();
  private readonly recalled = new Set<TreeNode>();
  private readonly decisions = new Decisions();
  private readonly closing = new AbortController();
  private readonly reading: Reading;
  private readonly said: Meanwhile;
  private readonly forget: () => void;
  /** The reading of its turns, while it goes on. */
  private opening: Promise<void> | null = null;
  /** Why its turns could not be read. */
  private unread: unknown = null;

  constructor(private readonly options: SessionOptions) {
    this.reading = new Reading(options.api, this.closing.signal);
    this.said = new Meanwhile(options.api, this.closing.signal);
    this.forget = effect(() => this.decisions.place(this.turns.value));
  }

  get meanwhile(): ReadonlySignal<readonly SaidMeanwhile[]> {
    return this.said.entries;
  }

  /** Whether there is a message that the service has not got. */
  get hasUnsent(): boolean {
    return this.requests.size > 0;
  }

  // -- reading -------------------------------------------------------------------------------------------------

  /** Read a conversation of the service, its newest turns first, and join its run if it has one. */
  async open(id: string): Promise<void> {
    this.opening = this.readNewest(id);
    await this.opening;
    this.opening = null;
    await this.readAhead();
  }

  private async readNewest(id: string): Promise<void> {
    this.id.value = id;
    this.loading.value = true;
    this.unread = null;
    try {
      const [conversation, page] = await Promise.all([
        this.reading.conversation(id),
        this.reading.entries(id, null),
      ]);
      this.tree.addOlder(page.data);
      this.after = page.last_id;
      this.hasMoreEntries = page.has_more;
      const head = this.tree.get(conversation.last_response_id ?? null) ?? this.tree.newestWhere(() => true);
      const open = this.tree.newestWhere((node) => isOpen(node.entry));
      const tip = open ?? head;
      await this.show(tip === null ? null : this.tree.leaf(tip));
      this.problem.value = null;
      void this.restore();
    } catch (error) {
      this.unread = error;
      if (!this.closed) this.problem.value = problemOf(error);
    } finally {
      this.loading.value = false;
    }
  }

  /** Show the messages that wait for the last answer, or behind what it asks. */
  private async restore(): Promise<void> {
    const node = this.tip;
    const address = node === null ? null : this.addressOf(node);
    const asks = node?.turn?.answer.approvals.peek().size ?? 0;
    if (node === null || address === null || !(isOpen(node.entry) || asks > 0)) return;
    // What is not known is not shown. It reaches the answer all the same.
    await this.said.restore(address, () => this.tip === node).catch(() => {});
  }

  /** Look for what other pages and background runs have added. */
  async refresh(): Promise<void> {
    const id = this.id.peek();
    if (id === null || this.loading.peek() || this.closed) return;
    try {
      const page = await this.reading.entries(id, null, 20);
      if (this.closed) return;
      const made = this.tree.addNewer(page.data);
      if (made.length === 0) return;
      if (this.tip !== null && this.putBehind(this.tip)) {
        await this.show(this.tip);
        return;
      }
      const newest = made.findLast((node) => isOpen(node.entry)) ?? made.at(-1) ?? null;
      const follows = newest !== null && this.tip !== null && this.tree.path(newest).includes(this.tip);
      if (newest !== null && (this.tip === null || follows)) await this.show(newest);
      else {
        for (const node of made.filter((one) => isOpen(one.entry))) await this.read(node);
        this.place();
      }
    } catch {
      // Nobody has asked for it. The next request says what is wrong.
    }
  }

  async earlier(): Promise<void> {
    if (!this.hasEarlier.peek() || this.loading.peek()) return;
    this.loading.value = true;
    try {
      this.shown += AT_A_TIME;
      await this.show(this.tip);
    } catch (error) {
      this.shown -= AT_A_TIME;
      if (!this.closed) throw new Failed(error);
    } finally {
      this.loading.value = false;
    }
  }

  async showBranch(turn: Turn, index: number): Promise<void> {
    const node = this.tree.get(turn.key);
    const other = node === null ? undefined : this.tree.siblings(node)[index];
    if (other === undefined) return;
    try {
      await this.show(this.tree.leaf(other));
    } catch (error) {
      if (!this.closed) throw new Failed(error);
    }
  }

  /** Make a node the end of the branch that is shown, and read what is missing. */
  private async show(tip: TreeNode | null): Promise<void> {
    const { tree } = this;
    while (tip !== null && this.hasMoreEntries && tree.path(tip).length < this.shown && !this.closed) {
      await this.readEntries();
    }
    const window = tree.path(tip).slice(-this.shown);
    await Promise.all(window.reverse().map((node) => this.read(node)));
    if (this.closed) return;
    this.tip = tip;
    if (tip !== null) tree.prefer(tip);
    this.place();
  }

  private async readEntries(): Promise<void> {
    const page = await this.reading.entries(this.id.peek() ?? "", this.after);
    this.tree.addOlder(page.data);
    this.after = page.last_id;
    this.hasMoreEntries = page.has_more && page.last_id !== null;
  }

  /** The counts of branches need all responses. */
  private async readAhead(): Promise<void> {
    try {
      for (let pages = 0; pages < PAGES_AHEAD && this.hasMoreEntries && !this.closed; pages++) {
        await this.readEntries();
      }
      if (!this.closed) this.place();
    } catch {
      // What is shown is right, and `earlier` tries again.
    }
  }

  async recall(turn: Turn): Promise<void> {
    const node = this.nodeOf(turn);
    if (node.entry === null || node.turn?.answer.isStored !== true || this.recalled.has(node)) return;
    this.recalled.add(node);
    try {
      node.turn.answer.recall(await this.reading.documents(node.entry, MOST_RECALLED));
    } catch {
      // Events are kept for a while only. Without them the line of the search says less.
    }
  }

  private async read(node: TreeNode): Promise<void> {
    const { entry } = node;
    if (node.turn !== null || node.missing || entry === null) return;
    const stored = await this.reading.turn(entry);
    if (stored === null) {
      node.missing = true;
      return;
    }
    if (node.turn !== null || this.closed) return;
    const input = asSent(stored.input);
    const turn = this.turnOf(node, input, entry.model, entry.created_at);
    this.decisions.note(decisionsIn(input));
    turn.traceUrl.value = entry.trace_url ?? null;
    turn.feedback.value = entry.feedback?.user_feedback?.value ?? null;
    if (stored.response !== null) turn.answer.load(stored.response);
    if (stored.response === null || isOpen(stored.response)) {
      turn.answer.status.value = entry.status;
      void this.follow(node, turn, (run) => run.join(entry.id, entry.family));
    }
  }

  // -- what is shown -------------------------------------------------------------------------------------------

  private place(): void {
    const path = this.tree.path(this.tip);
    const window = path.slice(-this.shown);
    const turns = window.flatMap((node) => (node.turn === null ? [] : [node.turn]));
    for (const node of window) {
      const siblings = this.tree.siblings(node);
      const now = { index: Math.max(0, siblings.indexOf(node)), count: Math.max(1, siblings.length) };
      const before = node.turn?.branches.peek();
      if (node.turn !== null && (before?.index !== now.index || before.count !== now.count)) {
        node.turn.branches.value = now;
      }
    }
    const before = this.turns.peek();
    if (turns.length !== before.length || turns.some((turn, index) => turn !== before[index])) {
      this.turns.value = turns;
    }
    const first = path[0];
    this.hasEarlier.value =
      path.length > this.shown || (first !== undefined && first.follows !== null && this.hasMoreEntries);
  }

  // -- asking --------------------------------------------------------------------------------------------------

  async send(text: string, attachments: readonly Attachment[] = []): Promise<void> {
    // Which turn the message follows is known when the turns are read.
    if (this.opening !== null) await this.opening;
    const id = this.id.peek();
    if (this.unread !== null && id !== null) await this.readNewest(id);
    if (this.unread !== null) throw new Failed(this.unread);
    this.ask(this.tip, [userMessage(text, attachments)], true);
  }

  async say(text: string, attachments: readonly Attachment[] = []): Promise<void> {
    const address = this.written();
    if (address === null) throw new StillAnswering("the answer cannot be reached");
    const key = this.options.surroundings.unique();
    await this.said.send({ address, item: userMessage(text, attachments), key, text, attachments });
  }

  drop(message: SaidMeanwhile): void {
    this.said.drop(message);
  }

  async regenerate(turn: Turn): Promise<void> {
    const node = this.nodeOf(turn);
    if (node.responseId.peek() === null && this.requests.has(node)) {
      this.free();
      this.renew(node);
      node.turn?.answer.reset();
      this.start(node);
      return;
    }
    this.ask(this.tree.parent(node), node.turn?.input ?? []);
  }

  async edit(turn: Turn, text: string, attachments: readonly Attachment[]): Promise<void> {
    const node = this.nodeOf(turn);
    const parent = this.tree.parent(node);
    const input = node.turn?.changed(text, attachments) ?? [userMessage(text, attachments)];
    this.free();
    // A message that has never reached the service leaves no branch.
    if (node.responseId.peek() === null && this.tree.children(node).length === 0) {
      this.tree.remove(node);
      this.requests.delete(node);
    }
    this.ask(parent, input);
  }

  async decide(turn: Turn, decisions: readonly ApprovalResponseItem[]): Promise<void> {
    if (decisions.length === 0) return;
    const node = this.nodeOf(turn);
    this.ask(node, decisions as unknown as InputItem[]);
    this.decisions.note(decisions);
  }

  async rate(turn: Turn, value: boolean, comment: string | null): Promise<void> {
    const node = this.nodeOf(turn);
    const id = node.responseId.peek();
    if (id === null) return;
    try {
      await this.options.api.json("POST", `v1/responses/${encodeURIComponent(id)}/feedback`, {
        body: comment === null ? { value } : { value, comment },
        signal: this.closing.signal,
      });
    } catch (error) {
      throw new Failed(error);
    }
    if (node.turn !== null) node.turn.feedback.value = value;
  }

  async stop(): Promise<void> {
    try {
      await Promise.all([...this.running.peek().values()].map((run) => run.stop()));
    } catch (error) {
      throw new Failed(error);
    }
  }

  close(): void {
    this.closing.abort();
    this.forget();
    for (const run of this.running.peek().values()) run.close();
  }

  private get closed(): boolean {
    return this.closing.signal.aborted;
  }

  private nodeOf(turn: Turn): TreeNode {
    const node = this.tree.get(turn.key);
    if (node === null) throw new Error("the turn belongs to another conversation");
    return node;
  }

  private free(): void {
    if (this.busy.peek()) throw new StillAnswering("an answer is in progress");
  }

  /** The address of the response that is being written at the end of what is shown, or `null`. */
  private written(): string | null {
    const turn = this.turns.value.at(-1);
    const node = turn === undefined ? null : this.tree.get(turn.key);
    if (node === null || !this.running.value.has(node) || node.turn?.answer.isOver.value !== false)
      return null;
    return this.addressOf(node);
  }

  private addressOf(node: TreeNode): string | null {
    const id = node.responseId.value;
    return id === null ? null : addressOf(id, node.entry?.family ?? "openai");
  }

  private ask(parent: TreeNode | null, input: readonly InputItem[], atEnd = false): void {
    this.free();
    const { surroundings, model } = this.options;
    const node = this.tree.addLocal(surroundings.unique(), parent);
    const before = parent === null ? null : this.addressOf(parent);
    // What waits behind the answer before comes with this request: the service has it.
    const waited = before === null ? [] : this.said.take(before);
    this.turnOf(node, [...input, ...waited], model(), surroundings.clock.now());
    const body: Record<string, unknown> = {
      input,
      stream: true,
      store: true,
      include: ["graph_agent.steps"],
      ...this.placeOf(parent),
    };
    if (model() !== "") body.model = model();
    this.requests.set(node, { body, key: surroundings.unique(), atEnd, refused: false });
    this.tip = node;
    this.tree.prefer(node);
    this.problem.value = null;
    this.place();
    this.start(node);
  }

  /** Whether the service has refused a message that was to follow the end of a branch. It runs nowhere. */
  private isRefused(node: TreeNode): boolean {
    const request = this.requests.get(node);
    return request?.atEnd === true && request.refused && node.responseId.peek() === null;
  }

  /** Put a refused message behind what others have added in its place. Returns whether there was something. */
  private putBehind(node: TreeNode): boolean {
    if (!this.isRefused(node) || this.tree.children(node).length > 0) return false;
    const isThere = (one: TreeNode) => one.responseId.peek() !== null;
    const first = this.tree.siblings(node).findLast(isThere);
    if (first === undefined) return false;
    let end = first;
    for (let next: TreeNode | undefined = first; next !== undefined; ) {
      end = next;
      next = this.tree.children(end).findLast(isThere);
    }
    this.tree.move(node, end);
    return true;
  }

  /** A refused message is asked anew, after what it follows now. */
  private renew(node: TreeNode): void {
    const request = this.requests.get(node);
    if (request === undefined || !this.isRefused(node)) return;
    if (this.putBehind(node)) this.place();
    const { previous_response_id: _before, conversation: _in, ...body } = request.body;
    this.requests.set(node, {
      ...request,
      body: { ...body, ...this.placeOf(this.tree.parent(node)) },
      key: this.options.surroundings.unique(),
      refused: false,
    });
  }

  /** What the request follows. */
  private placeOf(parent: TreeNode | null): Record<string, unknown> {
    for (let node = parent; node !== null; node = this.tree.parent(node)) {
      const id = node.responseId.peek();
      if (id !== null) return { previous_response_id: id };
    }
    const id = this.id.peek();
    if (id === null) return {};
    // The conversation alone would mean its newest response.
    const others = this.tree.newestWhere((node) => node.responseId.peek() !== null);
    return { conversation: others === null ? { id } : { id, from: "beginning" } };
  }

  private start(node: TreeNode): void {
    const { turn } = node;
    const request = this.requests.get(node);
    if (turn === null || request === undefined) return;
    turn.answer.startedAt.value = this.options.surroundings.clock.now();
    void this.follow(node, turn, (run) => run.post(request.body, request.key));
  }

  private async follow(node: TreeNode, turn: TurnState, read: (run: Run) => Promise<void>): Promise<void> {
    const { api, surroundings } = this.options;
    const began = surroundings.clock.now();
    const run = new Run({
      api,
      surroundings,
      answer: turn.answer,
      began: (responseId, conversationId) => this.began(node, responseId, conversationId),
    });
    this.running.value = new Map(this.running.peek()).set(node, run);
    try {
      await read(run);
      // Before it counts as ended, so that nothing looks as if nobody answered any more.
      await this.goOn(node, turn);
    } catch (error) {
      if (!this.closed) turn.answer.fail(problemOf(error));
    } finally {
      const running = new Map(this.running.peek());
      running.delete(node);
      this.running.value = running;
    }
    if (this.closed) return;
    // The time that the service has measured is also there after a reload.
    if (node.entry === null) turn.answer.seconds.value ??= Math.max(0, surroundings.clock.now() - began);
    const problem = turn.answer.problem.peek();
    const code = problem?.code ?? "";
    const request = this.requests.get(node);
    if (problem !== null && code === "conversation_busy" && request !== undefined) {
      request.refused = true;
      turn.answer.problem.value = { ...problem, message: `This was not sent. ${problem.message}` };
    }
    if (ELSEWHERE.has(code)) void this.elsewhere(node);
    else void this.readTrace(node, turn);
    this.options.changed();
  }

  /** Follow the answer that goes on with what was said meanwhile. */
  private async goOn(node: TreeNode, turn: TurnState): Promise<void> {
    const address = this.addressOf(node);
    if (address === null || this.closed || !turn.answer.ended) return;
    const waits = await this.said.waitsFor(address);
    if (turn.answer.goesOn.peek()) await this.refresh();
    // What is not known stays shown as it was.
    if (waits && !this.closed) await this.said.settle(address).catch(() => {});
  }

  /** Somebody else has gone on with the conversation. */
  private async elsewhere(node: TreeNode): Promise<void> {
    await this.refresh();
    if (this.tip === node && this.putBehind(node)) await this.show(node).catch(() => {});
  }

  private async readTrace(node: TreeNode, turn: TurnState): Promise<void> {
    const id = node.responseId.peek();
    if (id === null || turn.traceUrl.peek() !== null || !this.options.traceLinks()) return;
    try {
      turn.traceUrl.value = await this.reading.traceUrl(id);
    } catch {
      // The list of responses has it too, after a reload.
    }
  }

  private began(node: TreeNode, responseId: string, conversationId: string | null): void {
    if (node.responseId.peek() === null) {
      this.tree.bind(node, responseId);
      this.requests.delete(node);
      this.place();
    }
    if (this.id.peek() === null && conversationId !== null) {
      this.id.value = conversationId;
      this.options.named(conversationId);
    }
    this.options.changed();
  }

  private turnOf(node: TreeNode, input: readonly InputItem[], model: string, createdAt: number): TurnState {
    const answer = new AnswerState({
      now: () => this.options.surroundings.clock.now(),
      decided: (id) => this.decisions.of(id),
    });
    const turn = new TurnState(node.key, node.responseId, input, model, createdAt, answer);
    node.turn = turn;
    return turn;
  }
}

function isOpen(entry: Pick<ResponseEntry, "status"> | null): boolean {
  return entry !== null && (entry.status === "in_progress" || entry.status === "queued");
}
