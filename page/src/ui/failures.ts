/** What the reader is told about something that failed: the words of the state, or `otherwise` for an unknown error. */
export function failureWords(error: unknown, otherwise: string): string {
  return error instanceof Error && error.name === "Failed" ? error.message : otherwise;
}
