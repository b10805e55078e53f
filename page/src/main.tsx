/** The composition root of the page: the only module that knows the state and the view. */

import { render } from "preact";
import "./styles/page.css";

const root = document.getElementById("app");
if (root !== null) {
  render(<main>graph-agent</main>, root);
}
