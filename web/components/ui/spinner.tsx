import { classes } from "@/lib/classes";

/** Something goes on; the words beside it say what. */
export function Spinner({ className }: { className?: string }) {
  return (
    <span
      aria-hidden="true"
      className={classes(
        "inline-block size-4 shrink-0 animate-spin rounded-full border-2 border-line border-t-accent",
        className,
      )}
    />
  );
}
