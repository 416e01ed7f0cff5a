"use client";

import { useEffect, useRef, useState } from "react";

import { useAnnounce } from "@/components/announcer";
import { CaptionActions } from "@/components/describe/caption-actions";
import { OtherCaptions } from "@/components/describe/other-captions";
import { PictureFrame } from "@/components/picture-frame";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Bar } from "@/components/ui/bar";
import { Button } from "@/components/ui/button";
import { CloseIcon, MoreIcon, PointIcon, QuestionIcon } from "@/components/ui/icons";
import { Spinner } from "@/components/ui/spinner";
import { addressOf, type ViewId } from "@/components/views";
import { useWorkspace } from "@/components/workspace";
import type { Growth } from "@/lib/captions";
import type { Picture } from "@/lib/pictures";
import { captionKey, useAgain, useCaption } from "@/lib/queries";
import { useStrings } from "@/lib/use-strings";

/** One picture: what it looks like, its caption as it grows, and what can be done with that. */
export function PictureCard({ picture }: { picture: Picture }) {
  const { describe, picture: words } = useStrings();
  const { wish, remove, change } = useWorkspace();
  const { data, error, failureReason, isFetching } = useCaption(picture, wish);
  const again = useAgain();
  const [wantsMore, setWantsMore] = useState(false);
  useDoneAnnounced(picture, isFetching ? undefined : data);

  const done = data?.phase === "done" && !isFetching ? data : null;
  const problem = isFetching ? failureReason : error;
  const goTo = (view: ViewId) => () => {
    change({ chosen: picture.id });
    window.location.hash = addressOf(view);
  };
  const askAgain = () => void again(captionKey(picture, wish));
  return (
    <article
      aria-label={picture.name}
      className="grid gap-4 rounded-2xl border border-line bg-surface p-4 md:grid-cols-[18rem_minmax(0,1fr)] md:gap-6"
    >
      <PictureFrame picture={picture} className="aspect-4/3" />
      <div className="flex min-w-0 flex-col gap-3">
        <header className="flex items-start justify-between gap-2">
          <div className="min-w-0 text-sm text-muted">
            <h2 className="truncate font-medium" title={picture.name}>
              <bdi>{picture.name}</bdi>
            </h2>
            {picture.original && picture.size && (
              <p>
                {words.sent(picture.size.width, picture.size.height, picture.original.width, picture.original.height)}
              </p>
            )}
          </div>
          <Button
            kind="quiet"
            size="icon"
            className="-mt-2 -mr-2"
            aria-label={words.remove(picture.name)}
            onClick={() => remove(picture.id)}
          >
            <CloseIcon />
          </Button>
        </header>
        <CaptionText growth={data} isFetching={isFetching} />
        {problem && (!isFetching || data?.phase !== "growing") && (
          <ProblemNote error={problem} isRetried={isFetching} onAgain={askAgain} />
        )}
        {done && (
          <>
            <div className="flex flex-wrap items-center gap-x-4 gap-y-2 text-sm text-muted">
              <Sureness share={done.caption.probability} />
              <Badge>{describe.time(done.seconds)}</Badge>
              {done.cached && <Badge title={describe.cachedAbout}>{describe.cached}</Badge>}
            </div>
            <CaptionActions picture={picture} caption={done.caption}>
              <Button kind="quiet" size="small" aria-expanded={wantsMore} onClick={() => setWantsMore((now) => !now)}>
                <MoreIcon className="size-4" />
                {describe.more}
              </Button>
              <Button kind="quiet" size="small" onClick={goTo("ask")}>
                <QuestionIcon className="size-4" />
                {describe.ask}
              </Button>
              <Button kind="quiet" size="small" onClick={goTo("where")}>
                <PointIcon className="size-4" />
                {describe.where}
              </Button>
            </CaptionActions>
            {wantsMore && <OtherCaptions picture={picture} besides={done.caption.text} />}
          </>
        )}
      </div>
    </article>
  );
}

export function Sureness({ share }: { share: number }) {
  const { describe } = useStrings();
  return (
    <span className="inline-flex items-center gap-2 text-sm text-muted" title={describe.sureAbout}>
      <span>{describe.sure}</span>
      <Bar share={share} label={describe.sure} className="w-20" />
      <span className="tabular-nums">{Math.round(100 * share)} %</span>
    </span>
  );
}

function CaptionText({ growth, isFetching }: { growth: Growth | undefined; isFetching: boolean }) {
  const { describe } = useStrings();
  const text = growth?.phase === "done" ? growth.caption.text : growth?.phase === "growing" ? growth.text : "";
  const isGrowing = isFetching && growth?.phase === "growing";
  return (
    <div className="min-h-9">
      {text && (
        <p data-caption={isFetching ? "growing" : growth?.phase} className="text-xl leading-snug break-words sm:text-2xl">
          <bdi>{text}</bdi>
          {isGrowing && (
            <span
              aria-hidden="true"
              className="ml-1 inline-block h-[1em] w-0.5 translate-y-[0.15em] animate-pulse bg-accent"
            />
          )}
        </p>
      )}
      {!isFetching && growth?.phase === "growing" && <p className="text-sm text-muted">{describe.stopped}</p>}
      {isFetching && !text && <Step growth={growth} />}
    </div>
  );
}

function Step({ growth }: { growth: Growth | undefined }) {
  const { describe } = useStrings();
  if (growth?.phase === "sending") {
    const percent = Math.round(100 * growth.share);
    return (
      <p className="flex items-center gap-3 text-muted">
        <Bar isProgress share={growth.share} label={describe.sending(percent)} className="w-32" />
        {describe.sending(percent)}
      </p>
    );
  }
  return (
    <p className="flex items-center gap-2 text-muted">
      <Spinner /> {growth?.phase === "looking" ? describe.looking : describe.preparing}
    </p>
  );
}

/** Each whole caption is said once, not its growing, and not what a reload brings back. */
function useDoneAnnounced(picture: Picture, growth: Growth | undefined) {
  const { describe } = useStrings();
  const announce = useAnnounce();
  const said = useRef<string | null>(null);
  const text = growth?.phase === "done" ? growth.caption.text : null;
  useEffect(() => {
    if (text !== null && said.current !== text) announce(describe.done(picture.name, text));
    said.current = text;
  }, [announce, describe, picture.name, text]);
}
