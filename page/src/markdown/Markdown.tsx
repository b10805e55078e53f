/** An answer, rendered while it arrives. */

import { useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Citation } from "../conversation/model";
import { AnswerContext, type AnswerShared } from "./answer";
import { Sequence } from "./Blocks";
import { CitationCard, type ShownCitation } from "./CitationCard";
import { readableCode } from "./characters";
import { sorted } from "./citations";
import { GrowingDocument } from "./growing_document";
import { piecesOf } from "./leaf";
import { LONGEST_TEXT, MOST_ELEMENTS } from "./limits";
import "./markdown.css";
import type { MarkdownProps } from "./model";
import { BUDGET, type Limit, LimitContext, pace, useGradually } from "./pace";
import { References } from "./references";
import { Turns } from "./turns";

/** How long the pointer may take from a citation to its card, in milliseconds. */
const REACH = 200;

export function Markdown({ text, citations, streaming }: MarkdownProps) {
  // A text that does not begin with the text before is another one. All that was built for that is dropped.
  const [edition, setEdition] = useState(0);
  return (
    <Edition
      key={edition}
      text={text}
      citations={citations}
      streaming={streaming}
      onReplaced={() => setEdition(edition + 1)}
    />
  );
}

function Edition({ text, citations, streaming, onReplaced }: MarkdownProps & { onReplaced: () => void }) {
  const root = useRef<HTMLDivElement>(null);
  const [parts] = useState(() => ({
    document: new GrowingDocument(),
    references: new References(),
    settledRead: 0,
  }));
  const version = useSignal(0);
  const full = useSignal(false);
  const allowed = useRef(MOST_ELEMENTS);

  const work = useCallback((): boolean => {
    const { document: parsed, references } = parts;
    const changed = parsed.work(performance.now() + BUDGET);
    if (changed) {
      const complete = streaming.peek() ? parsed.text.lastIndexOf("\n") : Number.POSITIVE_INFINITY;
      references.read(parsed.settled.slice(parts.settledRead), parsed.text, complete);
      parts.settledRead = parsed.settled.length;
      references.read(parsed.tail, parsed.text, complete);
    }
    return changed;
  }, [parts, streaming]);

  // The first turn happens while rendering, so that a short text is there in the first frame. But an opened conversation
  // has many texts.
  useMemo(() => {
    parts.document.feed(text.peek().slice(0, LONGEST_TEXT));
    if (pace.hasTime()) {
      work();
    }
  }, [parts, text, work]);

  const [turns] = useState(
    () =>
      new Turns(parts.document, () => {
        if (work()) {
          version.value++;
        }
      }),
  );
  useSignalEffect(() => {
    const { document: parsed, references } = parts;
    const ended = !streaming.value;
    if (!parsed.feed(text.value.slice(0, LONGEST_TEXT))) {
      onReplaced();
    } else if (ended && parsed.finished) {
      // What was in the last line is complete now.
      references.read(parsed.tail, parsed.text, Number.POSITIVE_INFINITY);
    } else {
      turns.begin();
    }
  });
  useEffect(() => () => turns.end(), [turns]);

  const limit = useMemo<Limit>(
    () => ({
      full: () => full.value,
      check: () => {
        full.value = elementsIn(root.current) >= allowed.current;
        return full.value;
      },
    }),
    [full],
  );

  const shown = useSignal<ShownCitation | null>(null);
  const closing = useRef<ReturnType<typeof setTimeout>>(undefined);
  const close = useCallback(() => {
    clearTimeout(closing.current);
    shown.value = null;
  }, [shown]);
  useEffect(() => () => clearTimeout(closing.current), []);

  const shared = useMemo<AnswerShared>(
    () => ({
      references: parts.references,
      source: () => parts.document.text,
      showFootnote: (label) => showFootnote(root.current, label),
      showCitation: (citation: Citation | null, mark: HTMLElement | null) => {
        clearTimeout(closing.current);
        if (citation !== null && mark !== null) {
          shown.value = { citation, mark };
        } else {
          closing.current = setTimeout(close, REACH);
        }
      },
    }),
    [parts, shown, close],
  );

  version.value;
  const { document: parsed } = parts;
  const blocks = [...parsed.settled, ...parsed.tail].filter((block) => block.name !== "LinkReference");

  return (
    <div class="md" ref={root}>
      <LimitContext.Provider value={limit}>
        <AnswerContext.Provider value={shared}>
          <Sequence
            blocks={blocks}
            from={-1}
            until={Number.POSITIVE_INFINITY}
            citations={sorted(citations.value)}
            first={4}
            around={Chunk}
          />
        </AnswerContext.Provider>
      </LimitContext.Provider>
      {full.value && (
        <button
          type="button"
          class="md-more"
          onClick={() => {
            allowed.current = elementsIn(root.current) + MOST_ELEMENTS;
            full.value = false;
          }}
        >
          Show more of this long answer
        </button>
      )}
      <Rest text={text} />
      <CitationCard shown={shown} close={close} hold={() => clearTimeout(closing.current)} />
    </div>
  );
}

function elementsIn(root: HTMLElement | null): number {
  return root?.getElementsByTagName("*").length ?? 0;
}

/** What is out of sight is not laid out. */
function Chunk({ children }: { children: ComponentChildren }) {
  return <div class="md-chunk">{children}</div>;
}

function showFootnote(root: HTMLElement | null, label: string): void {
  const wanted = label.toLowerCase();
  for (const note of root?.querySelectorAll<HTMLElement>("[data-footnote]") ?? []) {
    if (note.dataset.footnote === wanted) {
      note.focus({ preventScroll: true });
      note.scrollIntoView({ block: "nearest" });
      return;
    }
  }
}

/** What is too long to be parsed. */
function Rest({ text }: { text: MarkdownProps["text"] }) {
  const [open, setOpen] = useState(false);
  if (text.value.length <= LONGEST_TEXT) {
    return null;
  }
  if (!open) {
    return (
      <button type="button" class="md-more" onClick={() => setOpen(true)}>
        Show the rest as plain text
      </button>
    );
  }
  return <PlainText text={text.value.slice(LONGEST_TEXT)} />;
}

function PlainText({ text }: { text: string }) {
  const pieces = piecesOf({ text, from: LONGEST_TEXT });
  const shown = useGradually(pieces.length, 1);
  return (
    <div class="md-verbatim">
      {pieces.slice(0, shown).map((piece) => (
        <p key={piece.from} class="md-piece" dir="auto">
          {readableCode(piece.text)}
        </p>
      ))}
    </div>
  );
}
