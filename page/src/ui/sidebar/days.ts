export interface Dated {
  created_at: number;
  updated_at?: number;
}

export interface Group<T> {
  name: string;
  entries: T[];
}

const DAY = 24 * 60 * 60 * 1000;

/** Put entries under the day of their last change, in the reader's time zone. The order of the entries stays. */
export function groupByDay<T extends Dated>(entries: readonly T[], now: Date): Group<T>[] {
  const groups: Group<T>[] = [];
  const byName = new Map<string, Group<T>>();
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  for (const entry of entries) {
    const name = dayName(new Date((entry.updated_at ?? entry.created_at) * 1000), today);
    let group = byName.get(name);
    if (group === undefined) {
      group = { name, entries: [] };
      byName.set(name, group);
      groups.push(group);
    }
    group.entries.push(entry);
  }
  return groups;
}

function dayName(when: Date, today: number): string {
  const day = new Date(when.getFullYear(), when.getMonth(), when.getDate()).getTime();
  // Rounded, because a day of the change to summer time has 23 hours.
  const ago = Math.round((today - day) / DAY);
  if (ago <= 0) return "Today";
  if (ago === 1) return "Yesterday";
  if (ago <= 7) return "Previous 7 days";
  if (ago <= 30) return "Previous 30 days";
  return monthName.format(when);
}

const monthName = new Intl.DateTimeFormat("en", { month: "long", year: "numeric" });
