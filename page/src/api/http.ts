/** Requests to the public API. Addresses are relative to the page, which may be mounted below a prefix. */

/** An answer of the service that says what is wrong. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly status: number,
    /** The stable name of the error, as `docs/errors.md` lists them, or `http_502` where a proxy has answered. */
    readonly code: string,
    message: string,
    readonly param: string | null = null,
    /** Seconds after which the same request may be sent again. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

/** The service cannot be reached, or the connection broke before the answer was complete. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

export interface ApiOptions {
  fetch: typeof fetch;
  /** The address of the service, as `serviceOf` finds it. */
  base: string;
  token: () => string | null;
  /** Called when the service refuses the token that a request had, or asks for one. */
  refused: (error: ApiError, token: string | null) => void;
}

export interface Asked {
  query?: Record<string, string | number | boolean | null | undefined>;
  body?: unknown;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** A client of the API. It throws `ApiError` and `ConnectionLost`, and the reason of a signal that was aborted. */
export class Api {
  constructor(private readonly options: ApiOptions) {}

  /** The JSON object that the service answers. */
  async json<T>(method: Method, path: string, asked: Asked = {}): Promise<T> {
    const response = await this.open(method, path, asked);
    let text: string;
    try {
      text = await response.text();
    } catch (error) {
      throw lost(error, asked.signal);
    }
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ApiError(response.status, "not_the_service", "the answer is not JSON");
    }
  }

  /** The answer whose body the caller reads, such as a stream of events. */
  async open(method: Method, path: string, asked: Asked = {}): Promise<Response> {
    const headers: Record<string, string> = { ...asked.headers };
    const token = this.options.token();
    if (token !== null) headers.authorization = `Bearer ${token}`;
    if (method !== "GET") headers["content-type"] = "application/json";
    const init: RequestInit = {
      method,
      headers,
      cache: "no-store",
      credentials: "same-origin",
      // A sign-in page at another host must not look like a broken network.
      redirect: "manual",
    };
    if (method !== "GET") init.body = asked.body === undefined ? "" : JSON.stringify(asked.body);
    if (asked.signal !== undefined) init.signal = asked.signal;
    let response: Response;
    try {
      response = await this.options.fetch(this.address(path, asked.query), init);
    } catch (error) {
      throw lost(error, asked.signal);
    }
    if (response.ok) return response;
    const error = await errorOf(response);
    if (error.status === 401) this.options.refused(error, token);
    throw error;
  }

  private address(path: string, query: Asked["query"] = {}): string {
    const url = new URL(path, this.options.base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
    }
    return url.href;
  }
}

/** What a failed `fetch` or a failed read means: the reason of an aborted signal, or a lost connection. */
export function lost(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  return error instanceof ApiError ? error : new ConnectionLost("the connection is lost");
}

async function errorOf(response: Response): Promise<ApiError> {
  if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) {
    return new ApiError(401, "signed_out", "the session has ended");
  }
  const retryAfter = secondsOf(response.headers.get("retry-after"));
  let body: unknown = null;
  try {
    body = JSON.parse(await response.text());
  } catch {
    // A proxy has answered in the place of the service.
  }
  const error = typeof body === "object" && body !== null && "error" in body ? body.error : null;
  if (typeof error !== "object" || error === null) {
    return new ApiError(response.status, `http_${response.status}`, "", null, retryAfter);
  }
  const { code, message, param } = error as Record<string, unknown>;
  return new ApiError(
    response.status,
    typeof code === "string" ? code : `http_${response.status}`,
    typeof message === "string" ? message : "",
    typeof param === "string" ? param : null,
    retryAfter,
  );
}

function secondsOf(header: string | null): number | null {
  if (header === null || !/^\d{1,6}$/.test(header.trim())) return null;
  return Number(header);
}
