/** The inside of a paragraph, a heading or a cell. */

import type { ComponentChildren } from "preact";
import { useContext } from "preact/hooks";
import { remembered } from "../remembered";
import { addressOf, misleads } from "./address";
import { AnswerContext } from "./answer";
import { CitationMark } from "./CitationMark";
import { readable, readableCode } from "./characters";
import { type Citations, isMarker, same } from "./citations";
import { characterOf, decoded } from "./entities";
import { inlineParser } from "./grammar";
import { isDense, type Piece } from "./leaf";
import type { References } from "./references";

/** What the parser returns. It declares all of it but the children. */
interface Token {
  type: number;
  from: number;
  to: number;
  children: readonly Token[];
}

/** Deeper emphasis and links are shown as they are written. */
const DEEPEST = 16;

/** Stands for the characters of a citation while the rest is parsed, as a bracket would: neither letter nor space. */
const MASK = "\ufffc";

const NAMES = inlineParser.nodeSet.types.map((type) => type.name);

interface InlineProps {
  piece: Piece;
  citations: Citations;
  /** Whether the piece is a cell of a table, where `\|` is a bar in code too. */
  cell?: boolean;
}

function Content({ piece, citations, cell = false }: InlineProps) {
  const { references, showFootnote } = useContext(AnswerContext);
  const end = piece.from + piece.text.length;
  const cited = citations.map((citation) => {
    const start = Math.min(Math.max(citation.start, piece.from), end) - piece.from;
    const stop = Math.min(citation.end, end) - piece.from;
    return { citation, start: isMarker(piece.text.slice(start, stop)) ? start : stop, end: stop };
  });
  const writer = new Writer(piece.text, cited, references, showFootnote, cell);
  return <>{writer.whole()}</>;
}

export const Inline = remembered(
  Content,
  (one: InlineProps, other: InlineProps) =>
    one.piece.text === other.piece.text &&
    one.piece.from === other.piece.from &&
    one.cell === other.cell &&
    same(one.citations, other.citations),
);

interface Cited {
  citation: Citations[number];
  start: number;
  end: number;
}

class Writer {
  /** The next citation to write. */
  private next = 0;

  constructor(
    private readonly text: string,
    private readonly cited: readonly Cited[],
    private readonly references: References,
    private readonly showFootnote: (label: string) => void,
    private readonly cell: boolean,
  ) {}

  whole(): ComponentChildren[] {
    let masked = this.text;
    for (const one of this.cited) {
      if (one.end > one.start) {
        const mask = this.text.slice(one.start, one.end).replace(/[^\n]/g, MASK);
        masked = masked.slice(0, one.start) + mask + masked.slice(one.end);
      }
    }
    const tokens = isDense(this.text)
      ? []
      : (inlineParser.parseInline(masked, 0) as unknown as readonly Token[]);
    return this.all(tokens, 0, this.text.length, 0, false);
  }

  /** The tokens, and the text around them. */
  private all(
    tokens: readonly Token[],
    from: number,
    to: number,
    depth: number,
    inLink: boolean,
  ): ComponentChildren[] {
    const out: ComponentChildren[] = [];
    let at = from;
    for (const token of tokens) {
      if (token.from < at) {
        continue;
      }
      this.plain(out, at, token.from, inLink);
      this.token(out, token, depth, inLink);
      at = token.to;
    }
    this.plain(out, at, to, inLink);
    return out;
  }

  /** Text as it is written, with its citations. Those that ended inside of code or a link follow it. */
  private plain(out: ComponentChildren[], from: number, to: number, inLink: boolean): void {
    let at = from;
    for (
      let one = this.cited[this.next];
      one !== undefined && one.end <= to && !inLink;
      one = this.cited[this.next]
    ) {
      this.words(out, at, one.start);
      out.push(<CitationMark citation={one.citation} />);
      at = Math.max(at, one.end);
      this.next++;
    }
    this.words(out, at, to);
  }

  private words(out: ComponentChildren[], from: number, to: number): void {
    if (to > from) {
      out.push(readable(this.text.slice(from, to)));
    }
  }

  private token(out: ComponentChildren[], token: Token, depth: number, inLink: boolean): void {
    const { from, to } = token;
    if (depth > DEEPEST) {
      this.plain(out, from, to, inLink);
      return;
    }
    const source = this.text.slice(from, to);
    switch (NAMES[token.type]) {
      case "Escape":
        out.push(source.slice(1));
        return;
      case "Entity":
        out.push(readable(characterOf(source)));
        return;
      case "HardBreak":
        out.push(<br />);
        return;
      case "Emphasis":
        out.push(<em>{this.inside(token, depth, inLink)}</em>);
        return;
      case "StrongEmphasis":
        out.push(<strong>{this.inside(token, depth, inLink)}</strong>);
        return;
      case "Strikethrough":
        out.push(<del>{this.inside(token, depth, inLink)}</del>);
        return;
      case "InlineCode":
        out.push(<code dir="ltr">{this.code(token)}</code>);
        return;
      case "Math":
        out.push(<span class="md-math">{readableCode(source)}</span>);
        return;
      case "Link":
      case "Image":
        this.link(out, token, depth, inLink);
        return;
      case "Autolink":
      case "URL":
        this.bareAddress(out, source, from, to, inLink);
        return;
      default:
        this.plain(out, from, to, inLink);
    }
  }

  /** What stands between the marks of emphasis. */
  private inside(token: Token, depth: number, inLink: boolean): ComponentChildren[] {
    const first = token.children[0];
    const last = token.children[token.children.length - 1];
    return this.all(
      token.children.slice(1, -1),
      first?.to ?? token.from,
      last?.from ?? token.to,
      depth + 1,
      inLink,
    );
  }

  private code(token: Token): string {
    const first = token.children[0];
    const last = token.children[token.children.length - 1];
    let text = this.text.slice(first?.to ?? token.from, last?.from ?? token.to).replace(/\n/g, " ");
    if (text.startsWith(" ") && text.endsWith(" ") && text.trim() !== "") {
      text = text.slice(1, -1);
    }
    return readableCode(this.cell ? text.replace(/\\\|/g, "|") : text);
  }

  private bareAddress(
    out: ComponentChildren[],
    source: string,
    from: number,
    to: number,
    inLink: boolean,
  ): void {
    const bracketed = source.startsWith("<");
    const visible = bracketed ? source.slice(1, -1) : source;
    const target = /^www\./i.test(visible)
      ? `https://${visible}`
      : /^[^/:?#@]+@[^/:?#@]+$/.test(visible)
        ? `mailto:${visible}`
        : visible;
    const address = inLink ? null : addressOf(target);
    if (address === null) {
      this.plain(out, from, to, inLink);
      return;
    }
    out.push(
      <Anchor href={address.href} host={misleads(visible, address) ? address.host : null}>
        {readable(visible)}
      </Anchor>,
    );
  }

  private link(out: ComponentChildren[], token: Token, depth: number, inLink: boolean): void {
    const { children } = token;
    const image = NAMES[token.type] === "Image";
    const close = children.findIndex((child, at) => at > 0 && this.isCloseMark(child));
    const open = children[0];
    const closing = children[close];
    if (open === undefined || closing === undefined) {
      this.plain(out, token.from, token.to, inLink);
      return;
    }
    const after = children.slice(close + 1);
    const part = (name: string) => {
      const found = after.find((child) => NAMES[child.type] === name);
      return found === undefined ? null : this.text.slice(found.from, found.to);
    };
    const visible = this.text.slice(open.to, closing.from);
    if (!image && visible.startsWith("^") && after.length === 0 && this.footnote(out, visible.slice(1))) {
      return;
    }
    let target = part("URL");
    let title = part("LinkTitle")?.slice(1, -1) ?? null;
    if (target === null && !after.some((child) => NAMES[child.type] === "LinkMark")) {
      const label = part("LinkLabel")?.slice(1, -1).trim();
      const reference = this.references.link(label ? label : visible);
      target = reference?.address ?? null;
      title = reference?.title ?? null;
    }
    const address = target === null || inLink ? null : addressOf(target);
    const inner = this.all(
      children.slice(1, close),
      open.to,
      closing.from,
      depth + 1,
      inLink || address !== null,
    );
    if (image && inLink) {
      out.push(...inner);
      return;
    }
    if (address === null) {
      // As it is written, as a link that does nothing would look like one that does.
      out.push(this.text.slice(token.from, open.to), ...inner);
      this.plain(out, closing.from, token.to, inLink);
      return;
    }
    const words = decoded(visible).trim();
    const shown = misleads(words, address) || image || words === "" ? address.host : null;
    out.push(
      <Anchor
        href={address.href}
        host={shown}
        title={title === null ? null : readable(decoded(title))}
        image={image}
      >
        {inner}
      </Anchor>,
    );
  }

  private isCloseMark(child: Token): boolean {
    return NAMES[child.type] === "LinkMark" && this.text.charAt(child.from) === "]";
  }

  private footnote(out: ComponentChildren[], label: string): boolean {
    if (!this.references.footnote(label)) {
      return false;
    }
    const show = this.showFootnote;
    out.push(
      <sup class="md-footnote-mark">
        <button type="button" onClick={() => show(label)} aria-label={`Footnote ${label}`}>
          {label}
        </button>
      </sup>,
    );
    return true;
  }
}

interface AnchorProps {
  href: string;
  /** The host, if the reader cannot see it in the text of the link. */
  host: string | null;
  title?: string | null;
  image?: boolean;
  children: ComponentChildren;
}

function Anchor({ href, host, title = null, image = false, children }: AnchorProps) {
  const address = href.length > 200 ? `${href.slice(0, 200)}…` : href;
  return (
    <a
      class={image ? "md-image" : undefined}
      href={href}
      target="_blank"
      rel="noopener noreferrer nofollow"
      title={title ? `${title}\n${address}` : address}
    >
      {children}
      {host !== null && <span class="md-host"> ({host})</span>}
    </a>
  );
}
