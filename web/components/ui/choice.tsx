"use client";

import { useId } from "react";

import { classes } from "@/lib/classes";

type Props<T extends string> = {
  legend: string;
  value: T;
  onChange: (value: T) => void;
  choices: readonly { value: T; name: string; about?: string }[];
};

/** One of a few, as radio buttons that look like cards. */
export function Choice<T extends string>({ legend, value, onChange, choices }: Props<T>) {
  const name = useId();
  const explained = choices.some((each) => each.about);
  return (
    <fieldset>
      <legend className="mb-2 text-sm font-medium">{legend}</legend>
      <div className={classes("grid gap-2", explained ? "sm:grid-cols-3" : "grid-cols-3 sm:w-80")}>
        {choices.map((each) => (
          <label
            key={each.value}
            className={classes(
              "rounded-lg border px-3 py-2 text-sm has-focus-visible:outline-2 has-focus-visible:outline-offset-2",
              "has-focus-visible:outline-accent",
              each.value === value ? "border-accent bg-tint" : "border-line hover:border-edge",
              !explained && "text-center",
            )}
          >
            <input
              type="radio"
              name={name}
              value={each.value}
              checked={each.value === value}
              onChange={() => onChange(each.value)}
              className="sr-only"
            />
            <span className="font-medium">{each.name}</span>
            {each.about && <span className="mt-0.5 block text-muted">{each.about}</span>}
          </label>
        ))}
      </div>
    </fieldset>
  );
}
