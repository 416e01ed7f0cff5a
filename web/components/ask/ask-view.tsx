"use client";

import { AskForm } from "@/components/ask/ask-form";
import { Conversation } from "@/components/ask/conversation";
import { EmptyIntake, IntakeNotes } from "@/components/intake/intake";
import { Picker } from "@/components/intake/picker";
import { PictureFrame } from "@/components/picture-frame";
import { MiniNote, useServed } from "@/components/service/status";
import { useWorkspace } from "@/components/workspace";
import { classes } from "@/lib/classes";
import type { Picture } from "@/lib/pictures";
import { useStrings } from "@/lib/use-strings";

export function AskView() {
  const { ask, drop } = useStrings();
  const { pictures, chosen } = useWorkspace();
  const picture = pictures.find((each) => each.id === chosen) ?? pictures.at(-1);
  return (
    <div className="space-y-6">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <h1 className="text-2xl font-semibold tracking-tight">{ask.title}</h1>
        {picture && <Picker label={drop.more} size="small" kind="plain" />}
      </div>
      <MiniNote />
      <IntakeNotes />
      {picture ? <Talk picture={picture} /> : <EmptyIntake />}
    </div>
  );
}

function Talk({ picture }: { picture: Picture }) {
  const { ask } = useStrings();
  const { wish } = useWorkspace();
  const served = useServed();
  const model = served.find((each) => each.id === wish.model) ?? served[0];
  const cannot = model?.loaded && !model.tasks?.includes("answer");
  return (
    <div className="grid items-start gap-6 md:grid-cols-[minmax(0,2fr)_minmax(0,3fr)]">
      <div className="space-y-3 md:sticky md:top-20">
        <PictureFrame picture={picture} className="h-56 sm:h-72 md:aspect-4/3 md:h-auto" />
        <p className="truncate text-sm text-muted" title={picture.name}>
          <bdi>{picture.name}</bdi>
        </p>
        <Thumbnails chosen={picture} />
      </div>
      {cannot ? (
        <p role="alert" className="rounded-xl bg-wait-tint p-4">
          {ask.noTask(model.id)}
        </p>
      ) : (
        <div className="min-w-0 space-y-4">
          <Conversation picture={picture} />
          <AskForm picture={picture} />
        </div>
      )}
    </div>
  );
}

function Thumbnails({ chosen }: { chosen: Picture }) {
  const { ask } = useStrings();
  const { pictures, change } = useWorkspace();
  if (pictures.length < 2) return null;
  return (
    <ul aria-label={ask.which} className="-m-1 flex gap-2 overflow-x-auto p-1">
      {pictures.map((each) => (
        <li key={each.id} className="shrink-0">
          <button
            type="button"
            aria-pressed={each.id === chosen.id}
            aria-label={each.id === chosen.id ? ask.chosen(each.name) : ask.choose(each.name)}
            onClick={() => change({ chosen: each.id })}
            className={classes(
              "block size-16 overflow-hidden rounded-lg border-2 bg-sunken",
              each.id === chosen.id ? "border-accent" : "border-transparent hover:border-edge",
            )}
          >
            {each.preview && <img src={each.preview} alt="" className="size-full object-cover" />}
          </button>
        </li>
      ))}
    </ul>
  );
}
