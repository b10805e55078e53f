import { useSignal } from "@preact/signals";
import { ReasoningLine } from "./ReasoningLine";
import { StepLine } from "./StepLine";
import type { ActivityPart } from "./segments";
import { ToolLine } from "./ToolLine";

const MOST = 40;

/** Lines of what the graph does. Of very many the newest are shown. */
export function Activity({ parts }: { parts: readonly ActivityPart[] }) {
  const all = useSignal(false);
  const hidden = all.value ? 0 : Math.max(0, parts.length - MOST);
  return (
    <ul class="activity">
      {hidden > 0 && (
        <li class="line">
          <button
            type="button"
            class="text-button"
            onClick={() => {
              all.value = true;
            }}
          >
            Show {hidden} earlier steps
          </button>
        </li>
      )}
      {parts.slice(hidden).map((part) => (
        <ActivityLine key={part.id} part={part} />
      ))}
    </ul>
  );
}

function ActivityLine({ part }: { part: ActivityPart }) {
  switch (part.kind) {
    case "step":
      return <StepLine part={part} />;
    case "tool":
      return <ToolLine part={part} />;
    case "reasoning":
      return <ReasoningLine part={part} />;
  }
}
