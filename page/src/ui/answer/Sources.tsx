import { useSignal } from "@preact/signals";
import { useId, useRef } from "preact/hooks";
import type { Source } from "../../api/wire";
import { LongText } from "../LongText";

const FIRST = 5;

/** The numbered sources below an answer. */
export function Sources({ sources }: { sources: readonly Source[] }) {
  const all = useSignal(false);
  const cited = sources.filter((source) => source.cited !== false);
  if (cited.length === 0) return null;
  const shown = all.value ? cited : cited.slice(0, FIRST);
  return (
    <section class="sources" aria-label="Sources">
      <h3>Sources</h3>
      <ol>
        {shown.map((source) => (
          <SourceRow key={source.number} source={source} />
        ))}
      </ol>
      {shown.length < cited.length && (
        <button
          type="button"
          class="text-button"
          onClick={() => {
            all.value = true;
          }}
        >
          Show all {cited.length} sources
        </button>
      )}
    </section>
  );
}

/** Web addresses only: everything else is words. */
export function webAddress(uri: string | null | undefined): URL | null {
  if (uri == null || !/^https?:\/\//i.test(uri)) return null;
  try {
    return new URL(uri);
  } catch {
    return null;
  }
}

function SourceRow({ source }: { source: Source }) {
  const open = useSignal(false);
  const leaving = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const id = useId();
  const link = webAddress(source.doc_uri);
  const title = source.title || source.doc_uri || source.chunk_id || `Source ${source.number}`;
  const passage = source.text ?? null;
  const show = () => {
    clearTimeout(leaving.current);
    open.value = passage !== null;
  };
  const hide = () => {
    clearTimeout(leaving.current);
    open.value = false;
  };
  const describedBy = open.value ? id : undefined;
  return (
    // The row only watches the pointer and the focus of the link or button in it.
    <li
      class="source"
      onMouseEnter={() => {
        clearTimeout(leaving.current);
        leaving.current = setTimeout(show, 150);
      }}
      onMouseLeave={() => {
        clearTimeout(leaving.current);
        leaving.current = setTimeout(hide, 200);
      }}
      onFocusIn={show}
      onFocusOut={hide}
      onKeyDown={(event) => {
        if (event.key === "Escape" && open.value) {
          event.stopPropagation();
          hide();
        }
      }}
    >
      <div class="source-line">
        <span class="source-number">{source.number}</span>
        {link !== null ? (
          <a
            class="source-title"
            href={link.href}
            target="_blank"
            rel="noopener noreferrer nofollow"
            aria-describedby={describedBy}
            dir="auto"
          >
            {title}
          </a>
        ) : passage !== null ? (
          <button type="button" class="source-title" aria-describedby={describedBy} onClick={show} dir="auto">
            {title}
          </button>
        ) : (
          <span class="source-title" dir="auto">
            {title}
          </span>
        )}
        {link !== null && <span class="source-host">{link.host}</span>}
        {source.score != null && <span class="score muted">score {source.score.toFixed(2)}</span>}
      </div>
      {open.value && passage !== null && (
        <div class="passage" role="tooltip" id={id} dir="auto">
          <LongText text={passage} />
        </div>
      )}
    </li>
  );
}
