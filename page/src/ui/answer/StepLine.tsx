import type { FoundDocument } from "../../api/wire";
import type { StepPart } from "../../conversation/model";
import { DocumentsIcon, StepIcon } from "../Icons";
import { LongText } from "../LongText";
import { Line } from "./Line";
import { wordsOf } from "./payloads";

/** A node of the graph, with the documents that it found. */
export function StepLine({ part }: { part: StepPart }) {
  const step = part.step.value;
  const searches = part.documents.value;
  const path = step.path.length > 0 ? step.path : [step.name];
  const found = searches.reduce((sum, search) => sum + search.documents.length, 0);
  const detail =
    searches.length === 0 ? undefined : found === 1 ? "found 1 document" : `found ${found} documents`;
  return (
    <Line
      icon={searches.length > 0 ? <DocumentsIcon /> : <StepIcon />}
      name={path.map(wordsOf).join(" › ")}
      detail={detail}
      status={step.status}
      seconds={step.seconds}
      startedAt={step.started_at}
    >
      {searches.length === 0 ? undefined : () => searches.map((search) => <Search {...search} />)}
    </Line>
  );
}

function Search({ query, documents }: { query: string; documents: readonly FoundDocument[] }) {
  return (
    <div>
      {query !== "" && (
        <h3 dir="auto">
          Search: <LongText text={query} />
        </h3>
      )}
      {documents.length === 0 ? (
        <p class="muted">Nothing was found.</p>
      ) : (
        <ol class="found">
          {documents.map((document, index) => (
            <Found key={document.id ?? index} document={document} />
          ))}
        </ol>
      )}
    </div>
  );
}

function Found({ document }: { document: FoundDocument }) {
  const title = document.title || document.url || document.id || "Document";
  return (
    <li>
      <details>
        <summary>
          {document.number != null && <span class="source-number">{document.number}</span>}
          <span class="line-name" dir="auto">
            {title}
          </span>
          {document.score != null && <span class="score">score {document.score.toFixed(2)}</span>}
        </summary>
        <p class="payload prose-payload" dir="auto">
          <LongText text={document.text} />
        </p>
      </details>
    </li>
  );
}
