/** Which addresses of an answer become links, and what a reader must be told about them. */

import { decoded } from "./entities";

export interface Address {
  href: string;
  /** The host as the browser asks for it, or the mailbox of a `mailto:` address. */
  host: string;
  /** Whether the address begins with a name that looks like a host and is none: `https://bank.example@evil.example`. */
  disguised: boolean;
}

const LONGEST = 4_000;
const ALLOWED = /^(?:https?:\/\/|mailto:)/i;

// Browsers ignore or trim some of these inside an address. So a reader and a browser could read different ones.
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Z}]/u;

/** The address as a link may use it, or `null` if it is not `http`, `https` or `mailto`, or is no address at all. */
export function addressOf(source: string): Address | null {
  const text = decoded(source.startsWith("<") && source.endsWith(">") ? source.slice(1, -1) : source);
  if (text.length > LONGEST || INVISIBLE.test(text) || !ALLOWED.test(text)) {
    return null;
  }
  try {
    const url = new URL(text);
    const mail = url.protocol === "mailto:";
    if (!mail && url.hostname === "") {
      return null;
    }
    return {
      href: url.href,
      host: mail ? url.pathname : url.host,
      disguised: url.username !== "" || url.password !== "",
    };
  } catch {
    return null;
  }
}

const LIKE_AN_ADDRESS = /^(?:[a-z][a-z\d+.-]*:)?(?:\/\/)?([^\s/?#]{1,255}\.[^\s/?#.]{2,63})(?:[/?#]|$)/iu;

/** Whether the visible text of a link reads like the address of another host than the link's own. */
export function misleads(visible: string, address: Address): boolean {
  if (address.disguised) {
    return true;
  }
  const text = visible.trim().slice(0, 500);
  if (/^mailto:/i.test(address.href)) {
    return text.includes("@") && text.replace(/^mailto:/i, "").toLowerCase() !== address.host.toLowerCase();
  }
  const named = LIKE_AN_ADDRESS.exec(text)?.[1];
  if (named === undefined) {
    return false;
  }
  return named.toLowerCase().replace(/^www\./, "") !== address.host.toLowerCase().replace(/^www\./, "");
}
