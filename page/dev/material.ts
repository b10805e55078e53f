export const LONG_ANSWER = `## How vacation is counted

The handbook counts vacation in **working days**. What counts as one depends on the contract:

1. Full-time employees have 30 days.
2. Part-time employees have a share of them.
   - Three days a week: 18 days
   - Four days a week: 24 days
3. Trainees have 27 days.

| Days a week | Vacation days | Since |
|---|---:|---|
| 3 | 18 | 2024 |
| 4 | 24 | 2024 |
| 5 | 30 | 2019 |

The formula as Python:

\`\`\`python
def vacation_days(days_a_week: int, full: int = 30) -> int:
    """The share of a part-time employee."""
    return round(full * days_a_week / 5)  # rounded up by law
\`\`\`

> Days that are not taken by March 31 are lost, unless the employer prevented them.

See [the policy](https://example.com/vacation) or call \`vacation_days(3)\`. ${"The rest of the answer explains exceptions, one after the other, in sentences of a usual length. ".repeat(12)}

### Exceptions

${"Employees with a severe disability have five more days. ".repeat(20)}
`;

export const MAIL_SCHEMA = {
  type: "object",
  required: ["to", "subject", "body"],
  properties: {
    to: { type: "array", items: { type: "string" }, title: "To", description: "Addresses, one an entry." },
    subject: { type: "string", title: "Subject", maxLength: 120 },
    body: { type: "string", title: "Body" },
    priority: { enum: ["low", "normal", "high"], title: "Priority", default: "normal" },
    copies: { anyOf: [{ type: "integer", minimum: 0 }, { type: "null" }], title: "Copies", default: null },
    receipt: { type: "boolean", title: "Ask for a receipt", default: false },
    delivery: {
      type: "object",
      title: "Delivery",
      properties: {
        after: { type: "string", description: "Such as 2026-07-01 08:00." },
        retries: { type: "integer" },
      },
    },
    headers: { type: "object", title: "Headers", additionalProperties: { type: "string" } },
  },
};
