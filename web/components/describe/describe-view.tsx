"use client";

import { PictureCard } from "@/components/describe/picture-card";
import { WishForm } from "@/components/describe/wish-form";
import { EmptyIntake, IntakeNotes } from "@/components/intake/intake";
import { Picker } from "@/components/intake/picker";
import { Samples } from "@/components/intake/samples";
import { MiniNote } from "@/components/service/status";
import { Button } from "@/components/ui/button";
import { useWorkspace } from "@/components/workspace";
import { useStrings } from "@/lib/use-strings";

export function DescribeView() {
  const { describe, drop, lead, picture } = useStrings();
  const { pictures, clear } = useWorkspace();
  return (
    <div className="space-y-6">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h1 className="text-2xl font-semibold tracking-tight">{describe.title}</h1>
        {pictures.length > 0 && (
          <div className="flex flex-wrap items-center gap-2">
            {pictures.length > 1 && (
              <>
                <span className="px-1 text-sm text-muted">{picture.count(pictures.length)}</span>
                <Button kind="quiet" size="small" onClick={clear}>
                  {picture.removeAll}
                </Button>
              </>
            )}
            <Picker label={drop.more} size="small" />
          </div>
        )}
      </div>
      {pictures.length === 0 && <p className="max-w-3xl text-muted">{lead}</p>}
      <MiniNote />
      <IntakeNotes />
      {pictures.length === 0 ? (
        <>
          <EmptyIntake />
          <WishForm />
        </>
      ) : (
        <>
          <WishForm />
          <ul className="space-y-4">
            {[...pictures].reverse().map((each) => (
              <li key={each.id}>
                <PictureCard picture={each} />
              </li>
            ))}
          </ul>
          <Samples />
        </>
      )}
    </div>
  );
}
