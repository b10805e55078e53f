import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { copyText } from "../clipboard";
import { usePage } from "./context";
import { IconButton } from "./IconButton";
import { CopyIcon, DoneIcon } from "./Icons";

export function CopyButton({ label, text }: { label: string; text: () => string }) {
  const { announce } = usePage();
  const copied = useSignal(false);
  useEffect(() => {
    if (!copied.value) return;
    const timer = setTimeout(() => {
      copied.value = false;
    }, 2000);
    return () => clearTimeout(timer);
  }, [copied.value]);
  const copy = async () => {
    copied.value = await copyText(text());
    announce(
      copied.value
        ? "Copied."
        : "The browser does not let this page copy. Select the text and copy it yourself.",
    );
  };
  return (
    <IconButton small label={label} onClick={() => void copy()}>
      {copied.value ? <DoneIcon /> : <CopyIcon />}
    </IconButton>
  );
}
