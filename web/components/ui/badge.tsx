import type { ReactNode } from "react";

export function Badge({ children, title }: { children: ReactNode; title?: string }) {
  return (
    <span
      title={title}
      className="inline-flex items-center gap-1 rounded-full border border-line px-2 py-0.5 text-xs text-muted"
    >
      {children}
    </span>
  );
}
