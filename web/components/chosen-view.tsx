"use client";

import type { ReactNode } from "react";

import { EmptyIntake, IntakeNotes } from "@/components/intake/intake";
import { Picker } from "@/components/intake/picker";
import { MiniNote } from "@/components/service/status";
import { useWorkspace } from "@/components/workspace";
import type { Picture } from "@/lib/pictures";
import { useStrings } from "@/lib/use-strings";

type Props = { title: string; children: (picture: Picture) => ReactNode };

/** A view of one picture, the chosen one or else the last; until there is one, what it takes to get one. */
export function ChosenView({ title, children }: Props) {
  const { drop } = useStrings();
  const { pictures, chosen } = useWorkspace();
  const picture = pictures.find((each) => each.id === chosen) ?? pictures.at(-1);
  return (
    <div className="space-y-6">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h1 className="text-2xl font-semibold tracking-tight">{title}</h1>
        {picture && <Picker label={drop.more} size="small" kind="plain" />}
      </div>
      <MiniNote />
      <IntakeNotes />
      {picture ? children(picture) : <EmptyIntake />}
    </div>
  );
}
