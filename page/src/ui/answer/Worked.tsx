import { useSignal } from "@preact/signals";
import { formatSeconds } from "../durations";
import { ForwardIcon } from "../Icons";
import { Activity } from "./Activity";
import { AnswerText } from "./AnswerText";
import type { Segment } from "./segments";

/** "Worked for 4.2 s · 3 steps": how an answer came to be, folded away. */
export function Worked({
  segments,
  steps,
  seconds,
  onLook,
}: {
  segments: readonly Segment[];
  steps: number;
  seconds: number | null;
  onLook: () => void;
}) {
  const opened = useSignal(false);
  const time = seconds === null ? "Worked" : `Worked for ${formatSeconds(seconds)}`;
  return (
    <details
      class="worked"
      onToggle={(event) => {
        if (event.currentTarget.open && !opened.peek()) onLook();
        opened.value ||= event.currentTarget.open;
      }}
    >
      <summary>
        {steps === 0 ? time : `${time} · ${steps === 1 ? "1 step" : `${steps} steps`}`}
        <span class="chevron">
          <ForwardIcon />
        </span>
      </summary>
      {opened.value && (
        <div class="worked-body">
          {segments.map((segment) =>
            segment.kind === "text" ? (
              <AnswerText key={segment.id} part={segment} />
            ) : (
              <Activity key={segment.key} parts={segment.parts} />
            ),
          )}
        </div>
      )}
    </details>
  );
}
