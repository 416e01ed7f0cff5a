"use client";

import { useEffect, useState } from "react";

import { useAnnounce } from "@/components/announcer";
import { ChosenView } from "@/components/chosen-view";
import { PictureChoice } from "@/components/picture-choice";
import { useServed } from "@/components/service/status";
import { useWorkspace } from "@/components/workspace";
import { LitPicture } from "@/components/where/lit-picture";
import { Phrases } from "@/components/where/phrases";
import { RegionNote } from "@/components/where/region-note";
import type { GroundingResult } from "@/lib/api/schemas";
import { thirdOf } from "@/lib/grounding";
import type { Picture } from "@/lib/pictures";
import { useRegions } from "@/lib/queries";
import { useLaterStrings } from "@/lib/use-later-strings";

export default function WhereView() {
  const { where } = useLaterStrings();
  return <ChosenView title={where.title}>{(picture) => <Looking key={picture.id} picture={picture} />}</ChosenView>;
}

function Looking({ picture }: { picture: Picture }) {
  const { where } = useLaterStrings();
  const { wish, lit, phrases } = useWorkspace();
  const [strength, setStrength] = useState(0.8);
  const served = useServed();
  const model = served.find((each) => each.id === wish.model) ?? served[0];
  const tasks = model?.loaded ? (model.tasks ?? []) : ["match", "caption"];
  const hasCaption = tasks.includes("caption");

  const ofCaption = useRegions(picture, [], wish.model, tasks.includes("match") && hasCaption);
  const known = ofCaption.data ?? [];
  const typed = phrases[picture.id] ?? [];
  const all = [...known.map(({ phrase }) => phrase), ...typed];
  const now = all.find((phrase) => phrase === lit[picture.id]) ?? all[0] ?? "";
  const isTyped = typed.includes(now);
  const ofTyped = useRegions(picture, [now], wish.model, isTyped);
  const region = isTyped ? ofTyped.data?.[0] : known.find(({ phrase }) => phrase === now);
  useRegionAnnounced(region);

  if (!tasks.includes("match")) {
    return (
      <p role="alert" className="rounded-xl bg-wait-tint p-4">
        {where.noTask(model?.id ?? "")}
      </p>
    );
  }
  return (
    <div className="grid items-start gap-6 md:grid-cols-[minmax(0,3fr)_minmax(0,2fr)]">
      <div className="min-w-0 space-y-3 md:sticky md:top-20">
        <LitPicture picture={picture} region={region} strength={strength} />
        {picture.preview && <Strength value={strength} onChange={setStrength} />}
        <PictureChoice chosen={picture} words={where} />
      </div>
      <div className="min-w-0 space-y-5">
        <Phrases
          picture={picture}
          known={known.map(({ phrase }) => phrase)}
          typed={typed}
          now={now}
          ofCaption={hasCaption ? ofCaption : null}
          isWorking={isTyped && ofTyped.isFetching}
        />
        <RegionNote region={region} asked={isTyped ? ofTyped : null} />
      </div>
    </div>
  );
}

function Strength({ value, onChange }: { value: number; onChange: (value: number) => void }) {
  const { where } = useLaterStrings();
  return (
    <label className="flex flex-wrap items-center gap-x-3 gap-y-1 text-sm">
      {where.strength}
      <input
        type="range"
        min={0}
        max={1}
        step={0.05}
        value={value}
        aria-valuetext={`${Math.round(100 * value)} %`}
        onChange={(event) => onChange(Number(event.target.value))}
        className="h-9 min-w-40 flex-1 accent-accent"
      />
    </label>
  );
}

/** Which phrase is lit, where, and how sure the model is that it is there. */
function useRegionAnnounced(region: GroundingResult | undefined) {
  const { where } = useLaterStrings();
  const announce = useAnnounce();
  useEffect(() => {
    if (!region) return;
    announce(where.done(region.phrase, where.at(...thirdOf(region)), Math.round(100 * region.probability)));
  }, [announce, region, where]);
}
