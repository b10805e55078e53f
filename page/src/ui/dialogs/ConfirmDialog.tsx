import { Dialog } from "./Dialog";

interface Props {
  title: string;
  words: string;
  confirm: string;
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks before something that cannot be undone. The harmless answer has the focus. */
export function ConfirmDialog({ title, words, confirm, onConfirm, onClose }: Props) {
  return (
    <Dialog title={title} onClose={onClose}>
      <p dir="auto">{words}</p>
      <div class="buttons">
        <button type="button" class="button" onClick={onClose}>
          Cancel
        </button>
        <button
          type="button"
          class="button danger"
          onClick={() => {
            onClose();
            onConfirm();
          }}
        >
          {confirm}
        </button>
      </div>
    </Dialog>
  );
}
