/** What the state needs of a browser, passed in so that tests can give something else. */

export interface Clock {
  /** Seconds since 1970. */
  now(): number;
  /** Run once, before the next picture is drawn, and soon in a page that nobody sees. */
  frame(run: () => void): void;
  /** Run after some milliseconds. Returns how to prevent it. */
  after(milliseconds: number, run: () => void): () => void;
}

export interface Address {
  /** What follows `#`, without it. */
  read(): string;
  /** Change the address. `replace` leaves no entry in the history. */
  write(hash: string, how: "push" | "replace"): void;
  /** Called when the reader goes back or forward, or types an address. */
  listen(changed: () => void): void;
}

/** Whether the machine has a network, and whether somebody looks at the page. */
export interface Presence {
  online(): boolean;
  visible(): boolean;
  /** Returns how to stop listening. */
  listen(changed: () => void): () => void;
}

export interface Surroundings {
  fetch: typeof fetch;
  /** The address of the page, from which relative addresses are resolved. */
  base: string;
  /** Holds the token alone. */
  session: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  clock: Clock;
  address: Address;
  presence: Presence;
  /** A new text that nobody else has. */
  unique(): string;
}

/** A frame that a hidden page waits for never comes. */
const LATEST_FRAME_MS = 200;

/** The address of the service. The page says how it is reached from the page's own address. */
export function serviceOf(document: Document): string {
  const said = document.querySelector<HTMLMetaElement>('meta[name="service"]')?.content;
  return new URL(said === "../" ? said : "./", document.baseURI).href;
}

/** The surroundings of a page in a browser. */
export function browserSurroundings(window: Window & typeof globalThis): Surroundings {
  const { document, location, history } = window;
  return {
    fetch: window.fetch.bind(window),
    base: serviceOf(document),
    session: sessionOf(window),
    clock: {
      now: () => Date.now() / 1000,
      frame: (run) => {
        let waits = true;
        const once = () => {
          if (waits) {
            waits = false;
            window.cancelAnimationFrame(drawn);
            window.clearTimeout(late);
            run();
          }
        };
        const drawn = window.requestAnimationFrame(once);
        const late = window.setTimeout(once, LATEST_FRAME_MS);
      },
      after: (milliseconds, run) => {
        const timer = window.setTimeout(run, milliseconds);
        return () => window.clearTimeout(timer);
      },
    },
    address: {
      read: () => location.hash.slice(1),
      write: (hash, how) => {
        const url = hash === "" ? location.pathname + location.search : `#${hash}`;
        if (how === "push") history.pushState(null, "", url);
        else history.replaceState(null, "", url);
      },
      listen: (changed) => {
        window.addEventListener("popstate", changed);
        window.addEventListener("hashchange", changed);
      },
    },
    presence: {
      online: () => window.navigator.onLine,
      visible: () => document.visibilityState === "visible",
      listen: (changed) => {
        window.addEventListener("online", changed);
        window.addEventListener("offline", changed);
        document.addEventListener("visibilitychange", changed);
        // Two windows side by side are both visible.
        window.addEventListener("focus", changed);
        return () => {
          window.removeEventListener("online", changed);
          window.removeEventListener("offline", changed);
          document.removeEventListener("visibilitychange", changed);
          window.removeEventListener("focus", changed);
        };
      },
    },
    unique: () => uuid(window.crypto),
  };
}

/** Storage that the browser denies lasts until the page is closed. */
function sessionOf(window: Window): Surroundings["session"] {
  try {
    return window.sessionStorage;
  } catch {
    const kept = new Map<string, string>();
    return {
      getItem: (name) => kept.get(name) ?? null,
      setItem: (name, value) => void kept.set(name, value),
      removeItem: (name) => void kept.delete(name),
    };
  }
}

/** `crypto.randomUUID` exists only in secure contexts, and a service at `http://` is none. */
function uuid(crypto: Crypto): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
