/** What the view gives to `<Markdown>`: the contract between `ui/` and `markdown/`. */

import type { ReadonlySignal } from "@preact/signals";
import type { Citation } from "../conversation/model";

export interface MarkdownProps {
  /** The source. It only grows while `streaming`. Raw HTML in it is text. */
  text: ReadonlySignal<string>;
  citations: ReadonlySignal<readonly Citation[]>;
  streaming: ReadonlySignal<boolean>;
}
