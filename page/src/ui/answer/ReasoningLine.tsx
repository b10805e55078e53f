import type { ReasoningPart } from "../../conversation/model";
import { formatSeconds } from "../durations";
import { ThoughtIcon } from "../Icons";
import { Line } from "./Line";
import { Payload } from "./Payload";

export function ReasoningLine({ part }: { part: ReasoningPart }) {
  const streaming = part.streaming.value;
  const seconds = part.seconds.value;
  const name = streaming
    ? "Thinking"
    : seconds === null
      ? "Thought"
      : `Thought for ${formatSeconds(seconds)}`;
  return (
    <Line icon={<ThoughtIcon />} name={name} status={streaming ? "in_progress" : "completed"} seconds={null}>
      {() => <ReasoningText part={part} />}
    </Line>
  );
}

function ReasoningText({ part }: { part: ReasoningPart }) {
  return <Payload name="Reasoning" text={part.text.value} prose />;
}
