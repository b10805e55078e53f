/** What a citation stands for, beside its mark. */

import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useId, useLayoutEffect, useRef } from "preact/hooks";
import type { Citation } from "../conversation/model";
import { addressOf } from "./address";
import { directionOf, readable } from "./characters";

export interface ShownCitation {
  citation: Citation;
  mark: HTMLElement;
}

/** Longer passages are cut, in UTF-16 units. */
const LONGEST_PASSAGE = 700;

const GAP = 6;

interface CitationCardProps {
  shown: ReadonlySignal<ShownCitation | null>;
  close: () => void;
  /** Keep it open while the pointer is on it. */
  hold: () => void;
}

export function CitationCard({ shown, close, hold }: CitationCardProps) {
  const id = useId();
  const card = useRef<HTMLDivElement>(null);
  const now = shown.value;

  useLayoutEffect(() => {
    const element = card.current;
    if (now === null || element === null) {
      return;
    }
    // In the top layer, as parts of an answer that are out of sight cut off what reaches beyond them.
    element.showPopover?.();
    place(element, now.mark);
    now.mark.setAttribute("aria-describedby", id);
    return () => {
      now.mark.removeAttribute("aria-describedby");
      element.hidePopover?.();
    };
  }, [now, id]);

  useEffect(() => {
    if (now === null) {
      return;
    }
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") {
        // Only the card closes, and not what it stands in.
        event.stopPropagation();
        close();
      }
    };
    const onTap = (event: Event) => {
      if (!now.mark.contains(event.target as Node) && !card.current?.contains(event.target as Node)) {
        close();
      }
    };
    document.addEventListener("keydown", onKey, true);
    document.addEventListener("pointerdown", onTap, true);
    document.addEventListener("scroll", close, true);
    return () => {
      document.removeEventListener("keydown", onKey, true);
      document.removeEventListener("pointerdown", onTap, true);
      document.removeEventListener("scroll", close, true);
    };
  }, [now, close]);

  if (now === null) {
    return null;
  }
  const { citation } = now;
  const passage = citation.passage ?? "";
  const cut = passage.length > LONGEST_PASSAGE;
  const address = addressOf(citation.url);
  return (
    <div
      ref={card}
      id={id}
      class="md-card"
      role="tooltip"
      popover="manual"
      onMouseEnter={hold}
      onMouseLeave={close}
    >
      <p class="md-card-title" dir="auto">
        {readable(citation.title)}
      </p>
      {address !== null && <p class="md-card-host">{address.host}</p>}
      {passage !== "" && (
        <blockquote dir={directionOf(passage)}>
          {readable(cut ? `${passage.slice(0, LONGEST_PASSAGE)}…` : passage)}
        </blockquote>
      )}
    </div>
  );
}

/** Under the mark if there is room, or else above it, and never outside of the window. */
function place(card: HTMLElement, mark: HTMLElement): void {
  const at = mark.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = card;
  const below = at.bottom + GAP + height <= window.innerHeight || at.top < height + GAP;
  const left = Math.max(GAP, Math.min(at.left, window.innerWidth - width - GAP));
  card.style.setProperty("left", `${left}px`);
  card.style.setProperty("top", `${below ? at.bottom + GAP : at.top - height - GAP}px`);
}
