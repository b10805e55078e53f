import { useRef } from "preact/hooks";
import { IconButton } from "../IconButton";
import { AttachIcon } from "../Icons";
import { offerOf, type Terms } from "./terms";

interface Props {
  terms: Terms;
  disabled: boolean;
  onFiles: (files: readonly File[]) => unknown;
}

/** The button that adds images and files, if the graph takes them. */
export function AddFiles({ terms, disabled, onFiles }: Props) {
  const input = useRef<HTMLInputElement>(null);
  const offer = offerOf(terms);
  if (offer === null) return null;
  return (
    <>
      <IconButton label={offer} disabled={disabled} onClick={() => input.current?.click()}>
        <AttachIcon />
      </IconButton>
      <input
        ref={input}
        type="file"
        hidden
        multiple
        accept={terms.files ? undefined : "image/png,image/jpeg,image/gif,image/webp"}
        onChange={(event) => {
          onFiles([...(event.currentTarget.files ?? [])]);
          // The same file can be chosen again.
          event.currentTarget.value = "";
        }}
      />
    </>
  );
}
