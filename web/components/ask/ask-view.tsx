"use client";

import { AskForm } from "@/components/ask/ask-form";
import { Conversation } from "@/components/ask/conversation";
import { ChosenView } from "@/components/chosen-view";
import { PictureChoice } from "@/components/picture-choice";
import { PictureFrame } from "@/components/picture-frame";
import { useServed } from "@/components/service/status";
import { useWorkspace } from "@/components/workspace";
import type { Picture } from "@/lib/pictures";
import { useLaterStrings } from "@/lib/use-later-strings";

export default function AskView() {
  const { ask } = useLaterStrings();
  return <ChosenView title={ask.title}>{(picture) => <Talk picture={picture} />}</ChosenView>;
}

function Talk({ picture }: { picture: Picture }) {
  const { ask } = useLaterStrings();
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
        <PictureChoice chosen={picture} words={ask} />
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
