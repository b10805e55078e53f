import { LongText } from "../LongText";
import { prettyJson } from "./payloads";

/** What went into a tool or came out of it. */
export function Payload({ name, text, prose }: { name: string; text: string; prose?: boolean }) {
  return (
    <div>
      <p class="payload-name">{name}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard. */}
      <section class={prose ? "payload prose-payload" : "payload"} aria-label={name} tabIndex={0} dir="auto">
        <LongText text={prose ? text : prettyJson(text)} />
      </section>
    </div>
  );
}
