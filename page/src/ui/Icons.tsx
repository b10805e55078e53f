/** Icons of one stroke, drawn on a square of 24. They are decoration: the control that holds one has the words. */

function icon(path: string, flip = false) {
  return function Icon() {
    return (
      <svg
        viewBox="0 0 24 24"
        fill="none"
        stroke="currentColor"
        stroke-width="1.8"
        stroke-linecap="round"
        stroke-linejoin="round"
        aria-hidden="true"
        focusable="false"
        class={flip ? "icon-flip" : undefined}
      >
        <path d={path} />
      </svg>
    );
  };
}

export const SidebarIcon = icon(
  "M5 4h14a2 2 0 0 1 2 2v12a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2zM9 4v16",
  true,
);
export const NewIcon = icon("M12 5v14M5 12h14");
export const SearchIcon = icon("M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4");
export const MoreIcon = icon("M5 11.5v1M12 11.5v1M19 11.5v1M4.5 12h1M11.5 12h1M18.5 12h1");
export const PinIcon = icon("M9 4h6l-1 6 3 3v2H7v-2l3-3zM12 15v6");
export const EditIcon = icon("M4 20h4L19 9l-4-4L4 16zM13 7l4 4");
export const DeleteIcon = icon("M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5");
export const SunIcon = icon(
  "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5",
);
export const MoonIcon = icon("M20 14a8 8 0 0 1-10-10 8 8 0 1 0 10 10z");
export const KeyboardIcon = icon(
  "M4 6h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1zM7 10h.01M11 10h.01M15 10h.01M18 10h.01M8 14h8",
);
export const GoodIcon = icon(
  "M7 11v9H4v-9zM7 11l4-8a2 2 0 0 1 2 2v4h5a2 2 0 0 1 2 2.3l-1.2 7A2 2 0 0 1 16.8 20H7",
);
export const BadIcon = icon(
  "M7 13V4H4v9zM7 13l4 8a2 2 0 0 0 2-2v-4h5a2 2 0 0 0 2-2.3l-1.2-7A2 2 0 0 0 16.8 4H7",
);
export const SendIcon = icon("M12 19V5M6 11l6-6 6 6");
export const StopIcon = icon("M8 8h8v8H8z");
export const DownIcon = icon("M12 5v14M6 13l6 6 6-6");
export const CopyIcon = icon("M9 9h11v11H9zM5 15H4V4h11v1");
export const DoneIcon = icon("M5 12.5l4.5 4.5L19 7");
export const RetryIcon = icon("M20 11a8 8 0 1 0-2.3 6.3M20 5v6h-6");
export const BackIcon = icon("M15 6l-6 6 6 6", true);
export const ForwardIcon = icon("M9 6l6 6-6 6", true);
export const StepIcon = icon(
  "M6 8a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM18 20a2 2 0 1 0 0-4 2 2 0 0 0 0 4zM6 8v4a4 4 0 0 0 4 4h6",
);
export const DocumentsIcon = icon("M7 3h7l5 5v13H7zM14 3v5h5M10 13h6M10 17h6");
export const ToolIcon = icon(
  "M14.5 6.5a4 4 0 0 1 5-1.2l-2.6 2.6 1.2 1.2 2.6-2.6a4 4 0 0 1-5.4 5L8 18.8a2 2 0 1 1-2.8-2.8l7.3-7.3a4 4 0 0 1 2-2.2z",
);
export const ThoughtIcon = icon(
  "M9 18h6M10 21h4M12 3a6 6 0 0 0-4 10.5c.7.7 1 1.5 1 2.5h6c0-1 .3-1.8 1-2.5A6 6 0 0 0 12 3z",
);
export const HandOffIcon = icon("M4 8h13M13 4l4 4-4 4M20 16H7M11 12l-4 4 4 4");
export const WarningIcon = icon("M12 4l9 16H3zM12 10v4M12 17h.01");
export const QuestionIcon = icon(
  "M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 18h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
);
export const CloseIcon = icon("M6 6l12 12M18 6L6 18");
export const AttachIcon = icon(
  "M20 11.5l-8 8a5 5 0 0 1-7-7l8.5-8.500a3.3 3.3 0 0 1 4.700 4.700L9.700 17.200a1.700 1.700 0 0 1-2.400-2.400L15 7",
);
export const FileIcon = icon("M7 3h7l5 5v13H7zM14 3v5h5");
export const TraceIcon = icon("M14 4h6v6M20 4l-9 9M18 14v5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7a1 1 0 0 1 1-1h5");
export const DataIcon = icon(
  "M12 10c4 0 7-1.3 7-3s-3-3-7-3-7 1.3-7 3 3 3 7 3zM5 7v10c0 1.7 3 3 7 3s7-1.3 7-3V7M5 12c0 1.7 3 3 7 3s7-1.3 7-3",
);
