/** The numbered link of a citation. */

import { useContext, useRef } from "preact/hooks";
import type { Citation } from "../conversation/model";
import { addressOf } from "./address";
import { AnswerContext } from "./answer";

export function CitationMark({ citation }: { citation: Citation }) {
  const { showCitation } = useContext(AnswerContext);
  // A finger has no hover: the first tap shows the passage, and the next one opens the document.
  const tapped = useRef(false);
  const mark = useRef<HTMLElement | null>(null);
  const address = addressOf(citation.url);
  const show = () => showCitation(citation, mark.current);
  const hide = () => {
    tapped.current = false;
    showCitation(null, mark.current);
  };
  const keep = (element: HTMLElement | null) => {
    mark.current = element;
  };
  const common = {
    class: "md-citation",
    "aria-label": `Source ${citation.number}: ${citation.title}`,
    onMouseEnter: show,
    onMouseLeave: hide,
    onFocus: show,
    onBlur: hide,
  };
  if (address === null) {
    return (
      <button type="button" {...common} onClick={show} ref={keep}>
        [{citation.number}]
      </button>
    );
  }
  const onClick = (event: MouseEvent) => {
    if ((event as PointerEvent).pointerType === "touch" && !tapped.current) {
      event.preventDefault();
      tapped.current = true;
      show();
    }
  };
  return (
    <a
      {...common}
      href={address.href}
      target="_blank"
      rel="noopener noreferrer nofollow"
      onClick={onClick}
      ref={keep}
    >
      [{citation.number}]
    </a>
  );
}
