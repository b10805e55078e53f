import { usePage } from "./context";

/** The operator's title and logo. */
export function Brand() {
  const { title, logo } = usePage().chat.settings.value;
  return (
    <div class="brand">
      {logo && <img src="page/logo" alt="" />}
      <span dir="auto">{title}</span>
    </div>
  );
}
