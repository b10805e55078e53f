import { useEffect } from "preact/hooks";
import type { UsageRow } from "../../api/wire";
import { usePage } from "../context";

/** The tokens of the last 30 days: the reader's own, and for an operator those of all users. */
export function UsageSection() {
  const { usage } = usePage().chat;
  useEffect(() => void usage.load(), [usage]);
  const table = usage.table.value;
  const problem = usage.problem.value;
  if (problem !== null) return <p class="form-error">{problem.message}</p>;
  if (table === null || table.data.length === 0) return null;
  const all = table.all_users;
  return (
    <>
      <h3>{all ? "Use by everybody" : "Your use"}</h3>
      <p>
        The tokens that models have read and written {all ? "for all users" : "for you"} since{" "}
        {dayOf(table.since)}.
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard. */}
      <section class="usage" tabIndex={0} aria-label="Use of tokens">
        <table>
          <thead>
            <tr>
              {all && <th scope="col">User</th>}
              <th scope="col">Agent</th>
              <th scope="col">Model</th>
              <th scope="col" class="figure">
                Calls
              </th>
              <th scope="col" class="figure">
                Read
              </th>
              <th scope="col" class="figure">
                Written
              </th>
              <th scope="col" class="figure">
                Total
              </th>
            </tr>
          </thead>
          <tbody>
            {table.data.map((row) => (
              <tr key={keyOf(row)}>
                {all && <td dir="auto">{userOf(row)}</td>}
                <td dir="auto">{row.graph}</td>
                <td dir="auto">{row.model}</td>
                {[row.calls, row.input_tokens, row.output_tokens, row.total_tokens].map((figure, place) => (
                  <td key={FIGURES[place]} class="figure">
                    {figure.toLocaleString("en")}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {table.has_more && <p class="muted">These are the rows with the most tokens. There are more.</p>}
    </>
  );
}

const FIGURES = ["calls", "read", "written", "total"];

function keyOf({ user, graph, model }: UsageRow): string {
  return JSON.stringify([user, graph, model]);
}

/** The user without the kind, which says who vouches for the name. */
function userOf({ user }: UsageRow): string {
  return user.slice(user.indexOf(":") + 1);
}

function dayOf(day: string): string {
  return new Date(`${day}T00:00:00Z`).toLocaleDateString("en", { dateStyle: "medium", timeZone: "UTC" });
}
