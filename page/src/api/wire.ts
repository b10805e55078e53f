/**
 * What the service sends, as `docs/events.md` and `docs/routes.md` of the project describe it. Only the fields that
 * the page reads are declared; unknown ones, unknown items and unknown events must be tolerated.
 */

export type Status = "queued" | "in_progress" | "completed" | "incomplete" | "failed" | "cancelled";

/** A citation. `start_index` and `end_index` count Unicode code points of the part's text, not UTF-16 units. */
export interface UrlCitation {
  type: "url_citation";
  url: string;
  title?: string | null;
  start_index: number;
  end_index: number;
}

export interface OutputText {
  type: "output_text";
  text: string;
  annotations?: UrlCitation[];
}

export interface Refusal {
  type: "refusal";
  refusal: string;
}

export interface MessageItem {
  type: "message";
  id: string;
  role: "assistant" | "user" | "system" | "developer";
  status?: Status;
  phase?: "final_answer" | "commentary" | null;
  content: (OutputText | Refusal | { type: "input_text"; text: string } | { type: string })[] | string;
}

/** A tool that the server ran, with its result, as `/v1/responses` tells it. */
export interface McpCallItem {
  type: "mcp_call";
  id: string;
  name: string;
  arguments: string;
  status?: string;
  output?: string | null;
  error?: string | null;
  server_label?: string;
  approval_request_id?: string | null;
}

export type Decision = "approve" | "edit" | "reject" | "respond";

export interface ApprovalRequestItem {
  type: "mcp_approval_request";
  id: string;
  name: string;
  /** JSON text. */
  arguments: string;
  server_label?: string;
  /** The JSON schema of the arguments, where the service knows it. */
  input_schema?: Record<string, unknown> | null;
  allowed_decisions?: Decision[] | null;
}

export interface ApprovalResponseItem {
  type: "mcp_approval_response";
  approval_request_id: string;
  approve: boolean;
  reason?: string;
  /** Approve with other arguments. */
  arguments?: Record<string, unknown>;
  /** Answer in place of the tool, or answer a question. */
  output?: string;
}

export interface ReasoningItem {
  type: "reasoning";
  id: string;
  summary: { type: "summary_text"; text: string }[];
}

export type OutputItem =
  | MessageItem
  | McpCallItem
  | ApprovalRequestItem
  | ReasoningItem
  | { type: string; id?: string };

/** A passage that was found for the answer: `custom_outputs.sources`. */
export interface Source {
  number: number;
  doc_uri?: string | null;
  chunk_id?: string | null;
  title?: string | null;
  score?: number | null;
  cited?: boolean;
  /** The passage. Only cited sources have it. */
  text?: string | null;
}

/** A step of the graph: `graph_agent:node`, and `custom_outputs.steps` of a response that has ended. */
export interface NodeStep {
  id: string;
  name: string;
  path: string[];
  status: "in_progress" | "completed" | "failed" | "interrupted";
  /** Seconds since 1970. */
  started_at: number;
  seconds: number | null;
  /** The index of the first item that was opened after the step began. */
  output_index?: number;
}

export interface FoundDocument {
  number?: number | null;
  id?: string | null;
  title?: string | null;
  url?: string | null;
  score?: number | null;
  text: string;
}

export interface ResponseObject {
  id: string;
  object: "response";
  status: Status;
  created_at: number;
  completed_at?: number | null;
  model: string;
  output: OutputItem[];
  error?: { code: string; message: string } | null;
  incomplete_details?: { reason: string; message?: string } | null;
  previous_response_id?: string | null;
  conversation?: { id: string } | null;
  usage?: { input_tokens: number; output_tokens: number; total_tokens: number } | null;
  custom_outputs?: { sources?: Source[]; steps?: NodeStep[]; warnings?: string[] } | null;
  metadata?: Record<string, string> | null;
}

/** One event of a stream. `sequence_number` counts from 0 and never repeats. */
export type StreamEvent = { type: string; sequence_number: number } & Record<string, unknown>;

export interface Conversation {
  id: string;
  title: string | null;
  created_at: number;
  updated_at?: number;
  last_response_id?: string | null;
  metadata: Record<string, string>;
}

/** An entry of `GET /conversations/{id}/responses`. */
export interface ResponseEntry {
  id: string;
  object: "response" | "items";
  previous_response_id: string | null;
  status: Status;
  created_at: number;
  model: string;
  family: "openai" | "databricks";
  /** Where people look at its trace. */
  trace_url?: string | null;
  /** What the reader has said about it, by name. */
  feedback?: Record<string, { value: boolean }>;
}

export interface Page<T> {
  data: T[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
}

/** What a graph remembers about the reader: an entry of `GET /v1/memories`. */
export interface Memory {
  id: string;
  /** `null` if a graph keeps another form, which cannot be changed. */
  text: string | null;
  value?: unknown;
  response_id?: string | null;
  created_at: number;
  updated_at: number;
}

/** How much `DELETE /v1/me/data` has deleted. */
export interface DeletedData {
  responses: number;
  conversations: number;
  checkpoints: number;
  memories: number;
}

/** A sum of tokens: an entry of `GET /v1/usage`. */
export interface UsageRow {
  user: string;
  graph: string;
  model: string;
  calls: number;
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
}

/** The answer of `GET /v1/usage`. */
export interface UsageOfTokens {
  since: string;
  until: string;
  /** Whether the reader sees what all users have used. */
  all_users: boolean;
  data: readonly UsageRow[];
  has_more: boolean;
}

/** A graph: an entry of `GET /v1/models`. */
export interface Model {
  id: string;
  name: string;
  description: string | null;
  example_questions: string[];
  accepts: { images: boolean; files: boolean };
  default: boolean;
  /** Whether it is loaded and can answer. */
  available?: boolean;
}

export interface GraphNode {
  id: string;
  name: string;
  kind: "start" | "node" | "end";
  /** The node of the outer graph that holds it. */
  group: string | null;
}

export interface GraphEdge {
  source: string;
  target: string;
  conditional: boolean;
  label?: string | null;
}

/** `GET /v1/models/{id}/graph`. A graph that is too large is not `complete`, without the graphs in it. */
export interface GraphDrawing {
  id: string;
  complete: boolean;
  nodes: GraphNode[];
  edges: GraphEdge[];
}

/** `GET /page/settings.json`: what the operator has set, and whether the page must ask for a token. */
export interface PageSettings {
  title: string;
  logo: boolean;
  color: string | null;
  color_dark: string | null;
  greeting: string | null;
  disclaimer: string | null;
  sign_in: "token" | "none";
  /** Whether answers take feedback. */
  feedback?: boolean;
  /** Whether answers have the address of their trace. */
  trace_links?: boolean;
  /** What a message does while the graph waits for a decision: `restate` or `reject`. */
  unanswered?: string;
  /** The largest request that the service takes. */
  max_body_bytes?: number;
  version: string;
}
