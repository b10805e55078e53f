/** The files that a paste or a drop brings. */

/** The files of a paste. Text counts more: office programs put a picture of it beside it. */
export function pastedFiles(event: ClipboardEvent): File[] {
  const { clipboardData } = event;
  if (clipboardData === null || [...clipboardData.types].includes("text/plain")) return [];
  return [...clipboardData.files];
}

/** Whether something that is dragged over the page has files. */
export function carriesFiles(event: DragEvent): boolean {
  return event.dataTransfer !== null && [...event.dataTransfer.types].includes("Files");
}

export function droppedFiles(event: DragEvent): File[] {
  return [...(event.dataTransfer?.files ?? [])];
}
