import { FIELD_KEYS, keysOf, SHORTCUTS } from "../shortcuts";
import { Dialog } from "./Dialog";

export function ShortcutsDialog({ mac, onClose }: { mac: boolean; onClose: () => void }) {
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      <dl class="shortcuts">
        {SHORTCUTS.map((shortcut) => (
          <>
            <dt>{shortcut.words}</dt>
            <dd>
              <kbd>{keysOf(shortcut, mac)}</kbd>
            </dd>
          </>
        ))}
        {FIELD_KEYS.map(({ keys, words }) => (
          <>
            <dt>{words}</dt>
            <dd>
              <kbd>{keys}</kbd>
            </dd>
          </>
        ))}
      </dl>
      <div class="buttons">
        <button type="button" class="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}
