/** What all parts of one shown answer share. */

import { createContext } from "preact";
import type { Citation } from "../conversation/model";
import { References } from "./references";

export interface AnswerShared {
  references: References;
  /** The whole text as it is now. Only grows. */
  source: () => string;
  showFootnote: (label: string) => void;
  /** Show what a citation stands for beside its mark, or with `null` nothing. */
  showCitation: (citation: Citation | null, mark: HTMLElement | null) => void;
}

export const AnswerContext = createContext<AnswerShared>({
  references: new References(),
  source: () => "",
  showFootnote: () => undefined,
  showCitation: () => undefined,
});
