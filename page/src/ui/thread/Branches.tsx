import { IconButton } from "../IconButton";
import { BackIcon, ForwardIcon } from "../Icons";

interface Props {
  branches: { index: number; count: number };
  disabled: boolean;
  onShow: (index: number) => void;
}

/** "‹ 2/3 ›": which of the edits and regenerations is shown. */
export function Branches({ branches: { index, count }, disabled, onShow }: Props) {
  if (count < 2) return null;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms.
    <span class="branches" role="group" aria-label="Versions of this message">
      <IconButton
        small
        label="Earlier version"
        disabled={disabled || index === 0}
        onClick={() => onShow(index - 1)}
      >
        <BackIcon />
      </IconButton>
      <span>
        <span class="unseen">Version </span>
        {index + 1}/{count}
      </span>
      <IconButton
        small
        label="Later version"
        disabled={disabled || index === count - 1}
        onClick={() => onShow(index + 1)}
      >
        <ForwardIcon />
      </IconButton>
    </span>
  );
}
