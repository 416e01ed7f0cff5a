import { classes } from "@/lib/classes";

type Props = { share: number; label: string; title?: string; className?: string; isProgress?: boolean };

/** A share of one as a quiet bar; what it is stands beside it in words, or in its label. */
export function Bar({ share, label, title, className, isProgress = false }: Props) {
  const percent = Math.round(100 * Math.min(1, Math.max(0, share)));
  return (
    <span
      role={isProgress ? "progressbar" : "meter"}
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={percent}
      title={title}
      className={classes("inline-block h-1.5 overflow-hidden rounded-full bg-sunken align-middle", className ?? "w-24")}
    >
      <span className="block h-full rounded-full bg-accent transition-[width]" style={{ width: `${percent}%` }} />
    </span>
  );
}
