import { prettyJson } from "../answer/payloads";
import { LongText } from "../LongText";
import { recordOf } from "./argumentsText";

/** A list of plain values has one a line; what is deeper is JSON. */
function valueText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value) && value.length > 0 && value.every((entry) => typeof entry !== "object")) {
    return value.join("\n");
  }
  return JSON.stringify(value, null, 2) ?? "";
}

/** The arguments of a call, one a row. */
export function ArgumentsTable({ name, text }: { name: string; text: string }) {
  const values = recordOf(text);
  if (values === null) {
    return (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
      <section class="payload" tabIndex={0} dir="auto" aria-label={`Arguments of ${name}`}>
        <LongText text={prettyJson(text)} />
      </section>
    );
  }
  const rows = Object.entries(values);
  if (rows.length === 0) return <p class="muted">It has no arguments.</p>;
  return (
    <table class="arguments">
      <caption class="unseen">Arguments of {name}</caption>
      <tbody>
        {rows.map(([key, value]) => (
          <tr key={key}>
            <th scope="row">{key}</th>
            <td dir="auto">
              <LongText text={valueText(value)} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
