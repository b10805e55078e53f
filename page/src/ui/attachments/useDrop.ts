import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { carriesFiles, droppedFiles } from "./carried";

/** Take files that are dropped anywhere on the page. Returns whether some are over it. */
export function useDrop(onFiles: (files: readonly File[]) => unknown): boolean {
  const over = useSignal(false);
  const take = useRef(onFiles);
  take.current = onFiles;
  useEffect(() => {
    const isCovered = () => document.querySelector("dialog[open]") !== null;
    const dragged = (event: DragEvent) => {
      if (!carriesFiles(event)) return;
      over.value = !event.defaultPrevented && !isCovered();
      // Otherwise the browser would leave the page for the file.
      event.preventDefault();
      if (event.dataTransfer !== null && isCovered()) event.dataTransfer.dropEffect = "none";
    };
    const left = (event: DragEvent) => {
      if (event.relatedTarget === null) over.value = false;
    };
    const dropped = (event: DragEvent) => {
      over.value = false;
      if (event.defaultPrevented || !carriesFiles(event)) return;
      event.preventDefault();
      if (!isCovered()) take.current(droppedFiles(event));
    };
    window.addEventListener("dragover", dragged);
    window.addEventListener("dragleave", left);
    window.addEventListener("drop", dropped);
    return () => {
      window.removeEventListener("dragover", dragged);
      window.removeEventListener("dragleave", left);
      window.removeEventListener("drop", dropped);
    };
  }, []);
  return over.value;
}
