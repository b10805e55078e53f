/** A block of code: its language, a button that copies it, a switch that wraps its lines, and colors. */

import { useContext, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { copyText } from "../../clipboard";
import { remembered } from "../../remembered";
import { readableCode } from "../characters";
import { LimitContext, useGradually } from "../pace";
import type { CodeToken } from "./grammars";
import { highlighted } from "./highlighter";
import { languageOf } from "./languages";

/** Pieces are laid out apart, so that only those in sight are. In UTF-16 units. */
const PIECE = 8_000;

/** How long code must rest before it is highlighted, in milliseconds. */
const REST = 250;

export interface CodeBlockProps {
  code: string;
  /** What stands after the opening mark. */
  info: string;
}

function Shown({ code, info }: CodeBlockProps) {
  const { label, language } = languageOf(info);
  const [wrapped, setWrapped] = useState(false);
  const [tokens, setTokens] = useState<CodeToken[] | null>(null);
  const { full } = useContext(LimitContext);
  const tired = full();

  useEffect(() => {
    if (language === null || tired) {
      return;
    }
    let left = false;
    const timer = setTimeout(async () => {
      const found = await highlighted(code, language);
      if (!left) {
        setTokens(found);
      }
    }, REST);
    return () => {
      left = true;
      clearTimeout(timer);
    };
  }, [code, language, tired]);

  const pieces = useMemo(() => piecesOf(code), [code]);
  const colors = useMemo(() => shared(tokens ?? [], pieces), [tokens, pieces]);
  const shown = useGradually(pieces.length, 2);
  const colored = useGradually(tokens === null ? 0 : pieces.length, 0);
  const name = label === "" ? "Code" : `Code, ${label}`;
  return (
    <figure class="md-code">
      <figcaption>
        <span class="md-code-language">{label}</span>
        <button type="button" aria-pressed={wrapped} onClick={() => setWrapped(!wrapped)}>
          Wrap
        </button>
        <CopyButton code={code} />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by the keyboard */}
      <section tabIndex={0} aria-label={name} dir="ltr">
        <pre class={wrapped ? "md-wrapped" : undefined}>
          <code class={pieces.length > 1 ? "md-long" : undefined}>
            {pieces.slice(0, shown).map((piece, at) => (
              <CodePiece key={at} text={piece} tokens={(at < colored && colors[at]) || null} />
            ))}
          </code>
        </pre>
      </section>
    </figure>
  );
}

export const CodeBlock = remembered(
  Shown,
  (one: CodeBlockProps, other: CodeBlockProps) => one.code === other.code && one.info === other.info,
);

interface CodePieceProps {
  text: string;
  tokens: readonly CodeToken[] | null;
}

const CodePiece = remembered(
  ({ text, tokens }: CodePieceProps) => {
    if (tokens === null) {
      return <span>{readableCode(text)}</span>;
    }
    let at = 0;
    return (
      <span>
        {tokens.map(({ length, kind }) => {
          const part = readableCode(text.slice(at, at + length));
          at += length;
          return kind === null ? part : <span class={`md-${kind}`}>{part}</span>;
        })}
        {readableCode(text.slice(at))}
      </span>
    );
  },
  (one: CodePieceProps, other: CodePieceProps) => one.text === other.text && one.tokens === other.tokens,
);

/** The code cut at the ends of lines, the same however far it has grown. */
function piecesOf(code: string): string[] {
  const pieces: string[] = [];
  let at = 0;
  while (code.length - at > PIECE) {
    const line = code.slice(at, at + PIECE).lastIndexOf("\n") + 1;
    const end = at + (line > 0 ? line : PIECE);
    pieces.push(code.slice(at, end));
    at = end;
  }
  pieces.push(code.slice(at));
  return pieces;
}

/** The tokens of each piece. A token that spans pieces is cut. */
function shared(tokens: readonly CodeToken[], pieces: readonly string[]): CodeToken[][] {
  const out: CodeToken[][] = [];
  let next = 0;
  let used = 0;
  for (const piece of pieces) {
    const mine: CodeToken[] = [];
    let room = piece.length;
    for (let token = tokens[next]; token !== undefined && room > 0; token = tokens[next]) {
      const length = Math.min(token.length - used, room);
      mine.push({ length, kind: token.kind });
      room -= length;
      used += length;
      if (used === token.length) {
        next++;
        used = 0;
      }
    }
    out.push(mine);
  }
  return out;
}

function CopyButton({ code }: { code: string }) {
  const [state, setState] = useState<"" | "Copied" | "Not copied">("");
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    setState((await copyText(code)) ? "Copied" : "Not copied");
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setState(""), 2_000);
  };
  return (
    <>
      <button type="button" onClick={copy}>
        {state || "Copy"}
      </button>
      <span role="status" class="md-hidden">
        {state}
      </span>
    </>
  );
}
