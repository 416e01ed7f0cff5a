"use client";

import type { useLibrary } from "@/lib/library-queries";

import { Gallery } from "@/components/find/gallery";
import { EmptyLibrary } from "@/components/find/without";
import { ProblemNote } from "@/components/problem";
import { Spinner } from "@/components/ui/spinner";
import type { LibraryImage } from "@/lib/api/schemas";
import type { Found } from "@/lib/dropped";
import { useLaterStrings } from "@/lib/use-later-strings";

type Props = {
  library: ReturnType<typeof useLibrary>;
  isFiltered: boolean;
  add: (found: Found) => void;
  onLike: (image: LibraryImage) => void;
};

/** The library in its own order, page by page as one scrolls. */
export function Browsing({ library, isFiltered, add, onLike }: Props) {
  const { find } = useLaterStrings();
  const { data, error, failureReason, isFetching, refetch } = library;
  const problem = isFetching ? failureReason : error;
  const images = data?.pages.flatMap((page) => page.images) ?? [];
  const total = data?.pages.at(-1)?.total ?? 0;
  const isEmpty = data && !images.length;
  return (
    <section aria-label={find.gallery} className="space-y-4">
      {problem && <ProblemNote error={problem} isRetried={isFetching} onAgain={() => void refetch()} />}
      {!data && !problem && (
        <p role="status" className="flex items-center gap-2 text-muted">
          <Spinner /> {find.loading}
        </p>
      )}
      {isEmpty && !isFiltered && total === 0 && <EmptyLibrary add={add} onAgain={() => void refetch()} isAsked={isFetching} />}
      {isEmpty && isFiltered && !problem && <p className="rounded-2xl bg-sunken p-4 text-muted">{find.nothing}</p>}
      {images.length > 0 && (
        <>
          <p className="text-sm text-muted">{isFiltered ? find.ofTotal(total) : find.total(total)}</p>
          <Gallery
            images={images}
            onLike={onLike}
            hasMore={library.hasNextPage && !error}
            isLoading={library.isFetchingNextPage}
            onMore={() => void library.fetchNextPage({ cancelRefetch: false })}
          />
        </>
      )}
    </section>
  );
}
