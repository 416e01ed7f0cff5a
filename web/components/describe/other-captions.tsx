"use client";

import { CopyButton } from "@/components/copy-button";
import { ProblemNote } from "@/components/problem";
import { Badge } from "@/components/ui/badge";
import { Bar } from "@/components/ui/bar";
import { Spinner } from "@/components/ui/spinner";
import { useWorkspace } from "@/components/workspace";
import type { Picture } from "@/lib/pictures";
import { useOthers } from "@/lib/queries";
import { useStrings } from "@/lib/use-strings";

/** What else the model would have said, likeliest first. besides: what is shown already. */
export function OtherCaptions({ picture, besides }: { picture: Picture; besides: string }) {
  const { describe } = useStrings();
  const { wish } = useWorkspace();
  const { data, error, failureReason, isFetching, refetch } = useOthers(picture, wish, true);
  const problem = isFetching ? failureReason : error;
  if (problem) return <ProblemNote error={problem} isRetried={isFetching} onAgain={() => void refetch()} />;
  if (!data) {
    return (
      <p className="flex items-center gap-2 text-sm text-muted">
        <Spinner /> {describe.moreLoading}
      </p>
    );
  }
  const others = data.captions.filter(
    ({ text }, place, all) => text !== besides && all.findIndex((each) => each.text === text) === place,
  );
  if (!others.length) return <p className="text-sm text-muted">{describe.none}</p>;
  return (
    <div className="space-y-2 rounded-xl bg-sunken/60 p-3">
      <ol aria-label={describe.more} className="space-y-1">
        {others.map(({ text, probability }) => (
          <li key={text} className="flex items-center gap-3">
            <span className="min-w-0 flex-1 break-words">
              <bdi>{text}</bdi>
            </span>
            <span className="hidden items-center gap-2 text-sm text-muted sm:flex">
              <Bar share={probability} label={describe.sure} className="w-16 bg-line" />
              <span className="w-10 text-right tabular-nums">{Math.round(100 * probability)} %</span>
            </span>
            <CopyButton isIcon text={text} label={describe.copy} />
          </li>
        ))}
      </ol>
      <div className="flex flex-wrap gap-2">
        <Badge>{describe.time(data.seconds)}</Badge>
        {data.cached && <Badge title={describe.cachedAbout}>{describe.cached}</Badge>}
      </div>
    </div>
  );
}
