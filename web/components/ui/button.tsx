import type { ComponentProps } from "react";

import { classes } from "@/lib/classes";

const KINDS = {
  main: "rounded-lg bg-accent font-medium text-on-accent hover:bg-accent-strong",
  plain: "rounded-lg border border-edge bg-surface font-medium text-ink hover:bg-sunken",
  quiet: "rounded-lg font-medium text-ink hover:bg-sunken",
  link: "rounded-lg font-medium text-accent hover:bg-sunken",
  chip: "rounded-full border border-edge bg-surface text-ink hover:bg-sunken",
} as const;

const SIZES = {
  usual: "min-h-11 px-4 text-base",
  small: "min-h-9 px-3 text-sm pointer-coarse:min-h-11",
  icon: "size-9 pointer-coarse:size-11",
} as const;

type Look = { kind?: keyof typeof KINDS; size?: keyof typeof SIZES; className?: string };

export const buttonClasses = ({ kind = "main", size = "usual", className }: Look): string =>
  classes(
    "inline-flex shrink-0 items-center justify-center gap-2 transition-colors",
    "disabled:pointer-events-none disabled:opacity-50",
    KINDS[kind],
    SIZES[size],
    className,
  );

export function Button({ kind, size, className, ...rest }: ComponentProps<"button"> & Look) {
  return <button type="button" className={buttonClasses({ kind, size, className })} {...rest} />;
}
