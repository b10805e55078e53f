import type { ToolPart } from "../../conversation/model";
import { HandOffIcon, ToolIcon } from "../Icons";
import { Line } from "./Line";
import { Payload } from "./Payload";
import { summaryOf, wordsOf } from "./payloads";

/** A call of a tool. A call of `transfer_to_AGENT` is a hand-off. */
export function ToolLine({ part }: { part: ToolPart }) {
  const agent = /^transfer_to_(.+)$/.exec(part.name)?.[1];
  return (
    <Line
      icon={agent === undefined ? <ToolIcon /> : <HandOffIcon />}
      name={agent === undefined ? wordsOf(part.name) : `Hand-off to ${wordsOf(agent)}`}
      detail={summaryOf(part.arguments.value)}
      status={part.status.value}
      seconds={part.seconds.value}
    >
      {() => <ToolPayloads part={part} />}
    </Line>
  );
}

function ToolPayloads({ part }: { part: ToolPart }) {
  const output = part.output.value;
  const error = part.error.value;
  return (
    <>
      <Payload name={`Arguments of ${part.name}`} text={part.arguments.value} />
      {output !== null && <Payload name={`Result of ${part.name}`} text={output} />}
      {error !== null && <Payload name={`Error of ${part.name}`} text={error} />}
    </>
  );
}
