"use client";

import { useEffect, useRef, useState } from "react";

import { useAnnounce } from "@/components/announcer";
import { Gallery } from "@/components/find/gallery";
import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Spinner } from "@/components/ui/spinner";
import type { LibraryImage } from "@/lib/api/schemas";
import { MOST_FOUND, PAGE, type Seek } from "@/lib/library";
import { useFound } from "@/lib/library-queries";
import type { Picture } from "@/lib/pictures";
import { useLaterStrings } from "@/lib/use-later-strings";

type Props = { seek: Seek; picture: Picture | null; onLike: (image: LibraryImage) => void; onClear: () => void };

/** What a search found, best first, and whether the model looked again. */
export function Finding(props: Props) {
  const { seek, picture } = props;
  // Another search begins with the first hits.
  return <Hits key={JSON.stringify([seek, picture?.id])} {...props} />;
}

function Hits({ seek, picture, onLike, onClear }: Props) {
  const { find } = useLaterStrings();
  const [limit, setLimit] = useState(PAGE);
  const { data, error, failureReason, isFetching, isPlaceholderData, refetch } = useFound(seek, picture, limit, true);
  const announce = useAnnounce();
  const problem = isFetching ? failureReason : error;
  const count = data && !isPlaceholderData ? data.hits.length : null;
  const isSaid = useRef(false); // not again when one was taken out, or more have come
  useEffect(() => {
    if (count === null || isSaid.current) return;
    isSaid.current = true;
    announce(count ? find.shown(count) : find.nothing);
  }, [announce, count, find]);
  return (
    <section aria-label={find.results} className="space-y-4">
      <div className="flex flex-wrap items-center justify-between gap-x-4 gap-y-2 text-sm text-muted">
        {data ? (
          <p className="min-w-0 flex-1 basis-72">
            <span className="font-medium text-ink">{find.shown(data.hits.length)}</span> {find.foundAbout(data.searched_ms)}.{" "}
            {data.reranked > 0 ? find.reranked(data.reranked, data.reranked_ms) : find.notReranked}
          </p>
        ) : (
          <p className="flex items-center gap-2">{isFetching && !problem && <><Spinner /> {find.searching}</>}</p>
        )}
        <Button kind="plain" size="small" onClick={onClear}>
          {find.clear}
        </Button>
      </div>
      {problem && <ProblemNote error={problem} isRetried={isFetching} onAgain={() => void refetch()} />}
      {data?.hits.length === 0 && !problem && <p className="rounded-2xl bg-sunken p-4 text-muted">{find.nothing}</p>}
      {data && (
        <Gallery
          images={data.hits}
          onLike={onLike}
          hasMore={data.hits.length >= limit && limit < MOST_FOUND && !error}
          isLoading={isFetching}
          onMore={() => setLimit(Math.min(MOST_FOUND, limit + PAGE))}
        />
      )}
    </section>
  );
}
