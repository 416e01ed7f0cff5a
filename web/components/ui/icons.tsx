import type { ReactNode } from "react";

/** Drawn on 24 × 24; beside words, so that no screen reader needs to know of them. */
function icon(paths: ReactNode) {
  return function Icon({ className = "size-5" }: { className?: string }) {
    return (
      <svg
        className={className}
        viewBox="0 0 24 24"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.75"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
      >
        {paths}
      </svg>
    );
  };
}

export const PictureIcon = icon(
  <>
    <rect x="3" y="4" width="18" height="16" rx="3" />
    <circle cx="8.5" cy="9.5" r="1.5" />
    <path d="m3.5 17 5-4.5 3.5 3 4-4.5 4.5 5" />
  </>,
);
export const QuestionIcon = icon(
  <>
    <path d="M4 5.5h16v11H11L6.5 20v-3.5H4z" />
    <path d="M10 9.2a2 2 0 1 1 2.9 1.8c-.6.3-.9.7-.9 1.2M12 14.2v.1" />
  </>,
);
export const UploadIcon = icon(<path d="M12 15.5V5m0 0L7.5 9.5M12 5l4.5 4.5M4.5 15.5v2a2 2 0 0 0 2 2h11a2 2 0 0 0 2-2v-2" />);
export const CameraIcon = icon(
  <>
    <path d="M4 8h3.2L9 5.5h6L16.8 8H20v11H4z" />
    <circle cx="12" cy="13" r="3.2" />
  </>,
);
export const CloseIcon = icon(<path d="m6.5 6.5 11 11m0-11-11 11" />);
export const CopyIcon = icon(
  <>
    <rect x="8.5" y="8.5" width="11" height="11" rx="2" />
    <path d="M15.5 8.5V6.5a2 2 0 0 0-2-2h-7a2 2 0 0 0-2 2v7a2 2 0 0 0 2 2h2" />
  </>,
);
export const TickIcon = icon(<path d="m5 12.5 4.5 4.5L19 7.5" />);
export const SaveIcon = icon(<path d="M12 4.5V15m0 0 4.5-4.5M12 15l-4.5-4.5M5 19.5h14" />);
export const MoreIcon = icon(<path d="M4.5 7h15m-15 5h15m-15 5h9" />);
export const AgainIcon = icon(<path d="M19 12a7 7 0 1 1-2.2-5.1L19 9m0-4v4h-4" />);
export const DownIcon = icon(<path d="m7 10 5 5 5-5" />);
export const WarningIcon = icon(<path d="M12 4 3 19.5h18zM12 10v4m0 2.800v.1" />);
export const ClockIcon = icon(
  <>
    <circle cx="12" cy="12" r="8" />
    <path d="M12 7.5V12l3 2" />
  </>,
);
export const SendIcon = icon(<path d="M12 19V5m0 0-6 6m6-6 6 6" />);
export const SearchIcon = icon(
  <>
    <circle cx="10.5" cy="10.5" r="6" />
    <path d="m15 15 5 5" />
  </>,
);
export const BinIcon = icon(<path d="M5 7h14M10 7V4.5h4V7m-7 0 .8 12.5h8.4L17 7m-7 3.5v5.5m4-5.5v5.5" />);
export const PointIcon = icon(
  <>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 3.5v5m0 7v5M3.5 12h5m7 0h5" />
  </>,
);
