import type { Part } from "../../conversation/model";

export interface Light {
  status: "in_progress" | "completed" | "failed" | "interrupted";
  /** Of all its runs in this answer. */
  seconds: number;
  runs: number;
}

/** How each node of a graph stands in an answer, by the id of the node. Nodes that have not run have no light. */
export function lightsOf(parts: readonly Part[]): Map<string, Light> {
  const lights = new Map<string, Light>();
  for (const part of parts) {
    if (part.kind !== "step") continue;
    const step = part.step.value;
    const id = step.path.length > 0 ? step.path.join(":") : step.name;
    const before = lights.get(id);
    lights.set(id, {
      status: before?.status === "in_progress" ? before.status : step.status,
      seconds: (before?.seconds ?? 0) + (step.seconds ?? 0),
      runs: (before?.runs ?? 0) + 1,
    });
  }
  return lights;
}
