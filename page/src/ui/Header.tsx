import { Brand } from "./Brand";
import { usePage } from "./context";
import { IconButton } from "./IconButton";
import { NewIcon, SidebarIcon, StepIcon } from "./Icons";

interface Props {
  sidebarShown: boolean;
  onShowSidebar: () => void;
  onNew: () => void;
  graphShown: boolean;
  onGraph: () => void;
}

export function Header({ sidebarShown, onShowSidebar, onNew, graphShown, onGraph }: Props) {
  const { chat } = usePage();
  const models = chat.models.value;
  return (
    <header class="bar">
      {!sidebarShown && (
        <IconButton
          label="Show the conversations"
          mark="data-show-sidebar"
          expanded={false}
          onClick={onShowSidebar}
        >
          <SidebarIcon />
        </IconButton>
      )}
      <div class="grow">
        {models.length > 1 ? (
          <select
            class="field graph-choice"
            aria-label="Assistant"
            value={chat.model.value}
            onChange={(event) => chat.chooseModel(event.currentTarget.value)}
          >
            {models.map((model) => (
              <option
                key={model.id}
                value={model.id}
                disabled={model.available === false}
                title={model.description ?? undefined}
              >
                {model.available === false ? `${model.name} (not available)` : model.name}
              </option>
            ))}
          </select>
        ) : (
          !sidebarShown && <Brand />
        )}
      </div>
      <IconButton
        label={graphShown ? "Hide the graph" : "Show the graph"}
        expanded={graphShown}
        onClick={onGraph}
      >
        <StepIcon />
      </IconButton>
      {!sidebarShown && (
        <IconButton label="New chat" onClick={onNew}>
          <NewIcon />
        </IconButton>
      )}
    </header>
  );
}
