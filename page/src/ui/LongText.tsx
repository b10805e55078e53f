import { useSignal } from "@preact/signals";

const FIRST = 10_000;
const MORE = 50_000;

/** A text that may be very long: its beginning, and a button for the rest. */
export function LongText({ text }: { text: string }) {
  const shown = useSignal(FIRST);
  const left = text.length - shown.value;
  if (left <= 0) return <>{text}</>;
  return (
    <>
      {text.slice(0, shown.value)}
      {" … "}
      <button
        type="button"
        class="text-button"
        onClick={() => {
          shown.value += MORE;
        }}
      >
        Show {Math.min(left, MORE).toLocaleString("en")} more characters
      </button>
    </>
  );
}
