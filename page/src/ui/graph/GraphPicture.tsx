import { useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { GraphDrawing } from "../../api/wire";
import { usePage } from "../context";
import { formatSeconds } from "../durations";
import { failureWords } from "../failures";
import { layout, MOST_NODES, outerGraph, type PlacedBox, type PlacedNode } from "./layout";
import { type Light, lightsOf } from "./lights";

/** A wider drawing scrolls, because its words would become too small. */
const SHRINKS = 480;

/** How far a drawing that scrolls is shrunk. */
const SMALLEST = 0.8;

/** The graph of the newest answer. The node that runs is lit, and those that have run are marked with their times. */
export function GraphPicture() {
  const { chat } = usePage();
  const newest = chat.open.value.turns.value.at(-1);
  const id = newest?.model || chat.model.value;
  const drawing = useSignal<GraphDrawing | null>(null);
  const failure = useSignal<string | null>(null);
  useEffect(() => {
    let wanted = true;
    drawing.value = null;
    failure.value = null;
    if (id === "") return;
    chat.graph(id).then(
      (found) => {
        if (wanted) drawing.value = readable(found);
      },
      (error: unknown) => {
        if (wanted) failure.value = failureWords(error, "The graph could not be read.");
      },
    );
    return () => {
      wanted = false;
    };
  }, [chat, id]);

  if (failure.value !== null) return <p class="form-error">{failure.value}</p>;
  const found = drawing.value;
  if (found === null) return <p class="muted">Loading …</p>;
  if (found.nodes.length === 0 || found.nodes.length > MOST_NODES) {
    return <p class="muted">This graph is too large to draw.</p>;
  }
  return (
    <>
      {!found.complete && <p class="muted">This graph is large. Only its outer nodes are shown.</p>}
      <Drawn drawing={found} />
    </>
  );
}

/** The whole graph, or its outer nodes if that would be too large to read. */
function readable(drawing: GraphDrawing): GraphDrawing {
  return drawing.nodes.length <= MOST_NODES ? drawing : { ...outerGraph(drawing), complete: false };
}

function Drawn({ drawing }: { drawing: GraphDrawing }) {
  const { chat } = usePage();
  const picture = useMemo(() => layout(drawing), [drawing]);
  const lights = useComputed(() => lightsOf(chat.open.value.turns.value.at(-1)?.answer.parts.value ?? []));
  return (
    <>
      <section
        class="graph-drawing"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
        tabIndex={0}
        aria-label="Drawing of the graph"
      >
        <svg
          class={picture.width > SHRINKS ? "graph wide" : "graph"}
          viewBox={`0 0 ${picture.width} ${picture.height}`}
          width={picture.width > SHRINKS ? SMALLEST * picture.width : picture.width}
          height={picture.width > SHRINKS ? SMALLEST * picture.height : picture.height}
          aria-hidden="true"
          focusable="false"
        >
          <defs>
            <marker
              id="arrow"
              viewBox="0 0 8 8"
              refX="7"
              refY="4"
              markerWidth="7"
              markerHeight="7"
              orient="auto-start-reverse"
            >
              <path class="graph-arrow" d="M0 0.5L7.5 4L0 7.5z" />
            </marker>
          </defs>
          {picture.boxes.map((box) => (
            <Box key={box.id} box={box} light={lights.value.get(box.id)} />
          ))}
          {picture.edges.map((edge) => (
            <path
              key={edge.key}
              class={edge.conditional ? "graph-edge conditional" : "graph-edge"}
              d={edge.path}
              marker-end="url(#arrow)"
              marker-start={edge.both ? "url(#arrow)" : undefined}
            />
          ))}
          {picture.nodes.map((node) => (
            <Node key={node.id} node={node} light={lights.value.get(node.id)} />
          ))}
        </svg>
      </section>
      <ul class="unseen" aria-label="Nodes of the graph">
        {picture.nodes
          .filter((node) => node.kind === "node")
          .map((node) => (
            <li key={node.id}>
              {pathOf(node)}: {wordsOf(lights.value.get(node.id))}
            </li>
          ))}
      </ul>
    </>
  );
}

/** The names of the nodes that hold a node, and its own. */
function pathOf({ id, name }: PlacedNode): string {
  return [...id.split(":").slice(0, -1), name].join(" › ");
}

function Box({ box, light }: { box: PlacedBox; light: Light | undefined }) {
  const { left, top, width, height, name } = box;
  return (
    <g class={`graph-box ${light?.status ?? ""}`}>
      <rect x={left} y={top} width={width} height={height} rx={10} />
      <text x={left + 10} y={top + 17}>
        {name}
      </text>
    </g>
  );
}

function wordsOf(light: Light | undefined): string {
  if (light === undefined) return "has not run";
  if (light.status === "in_progress") return "runs now";
  if (light.status === "failed") return "failed";
  return `has run for ${formatSeconds(light.seconds)}`;
}

function Node({ node, light }: { node: PlacedNode; light: Light | undefined }) {
  const times = light === undefined || light.status === "in_progress" ? null : formatSeconds(light.seconds);
  return (
    <g class={`graph-node ${node.kind} ${light?.status ?? ""}`}>
      <rect
        x={node.x - node.width / 2}
        y={node.y - node.height / 2}
        width={node.width}
        height={node.height}
        rx={node.kind === "node" ? 8 : 15}
      />
      <text x={node.x} y={node.y + (times === null ? 4.5 : -2)} text-anchor="middle">
        {node.name}
      </text>
      {times !== null && light !== undefined && (
        <text class="graph-time" x={node.x} y={node.y + 13} text-anchor="middle">
          {light.runs > 1 ? `${light.runs} × · ${times}` : times}
        </text>
      )}
    </g>
  );
}
