/** Highlights code beside the page. */

import { tokensOf } from "./grammars";
import type { Asked } from "./highlighter";

addEventListener("message", (event: MessageEvent<Asked>) => {
  const { id, code, language } = event.data;
  postMessage({ id, tokens: tokensOf(code, language) });
});
