import type {
  ApprovalPart,
  Part,
  ReasoningPart,
  StepPart,
  TextPart,
  ToolPart,
} from "../../conversation/model";

export type ActivityPart = StepPart | ToolPart | ReasoningPart;

/** What stands between two texts of an answer. */
export interface ActivitySegment {
  kind: "activity";
  key: string;
  parts: ActivityPart[];
}

export type Segment = ActivitySegment | TextPart;

export interface Layout {
  /** Folded away under one line, once the answer has ended. */
  worked: Segment[];
  /** In the order in which it began. */
  shown: Segment[];
  approvals: ApprovalPart[];
  /** How many lines of activity there are. */
  steps: number;
}

/**
 * What stands where in an answer. While it is written, all stands in the order in which it began. When it has ended,
 * everything but the final texts is folded away. Texts keep their place, so that they are not drawn again.
 */
export function layoutOf(parts: readonly Part[], ended: boolean): Layout {
  const layout: Layout = { worked: [], shown: [], approvals: [], steps: 0 };
  const commentary = new Set(ended ? parts.filter(isCommentary) : []);
  for (const part of parts) {
    if (part.kind === "approval") {
      layout.approvals.push(part);
    } else if (part.kind === "text") {
      (commentary.has(part) ? layout.worked : layout.shown).push(part);
    } else {
      layout.steps += 1;
      addActivity(ended ? layout.worked : layout.shown, part);
    }
  }
  return layout;
}

function isCommentary(part: Part): boolean {
  return part.kind === "text" && part.phase.value === "commentary";
}

function addActivity(segments: Segment[], part: ActivityPart): void {
  const last = segments.at(-1);
  if (last?.kind === "activity") last.parts.push(part);
  else segments.push({ kind: "activity", key: `activity-${part.id}`, parts: [part] });
}
