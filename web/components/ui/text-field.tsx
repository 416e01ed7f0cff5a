import { useId, type ComponentProps, type ReactNode } from "react";

import { classes } from "@/lib/classes";

type Props = Omit<ComponentProps<"input">, "id" | "value" | "onChange"> & {
  label: string;
  value: string;
  onChange: (value: string) => void;
  /** Said with the field: what to write in it, or what is wrong with it. */
  note?: ReactNode;
};

/** One line of text with its label above. */
export function TextField({ label, value, onChange, note, className, ...rest }: Props) {
  const id = useId();
  return (
    <>
      <label htmlFor={id} className="mb-1 block text-sm font-medium">
        {label}
      </label>
      <input
        id={id}
        value={value}
        onChange={(event) => onChange(event.target.value)}
        autoComplete="off"
        aria-describedby={note === undefined ? undefined : `${id}-note`}
        className={classes(
          "min-h-11 w-full rounded-lg border border-edge bg-surface px-3 placeholder:text-muted",
          className,
        )}
        {...rest}
      />
      {note !== undefined && <div id={`${id}-note`}>{note}</div>}
    </>
  );
}
