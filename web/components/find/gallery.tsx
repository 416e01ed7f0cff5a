"use client";

import { useWindowVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useRef, useState } from "react";

import { useAnnounce } from "@/components/announcer";
import { RemoveDialog } from "@/components/find/remove-dialog";
import { Tile } from "@/components/find/tile";
import { ProblemNote } from "@/components/problem";
import { Spinner } from "@/components/ui/spinner";
import { addressOf } from "@/components/views";
import { useWorkspace } from "@/components/workspace";
import type { LibraryHit, LibraryImage } from "@/lib/api/schemas";
import { titleOf } from "@/lib/library";
import { useOriginal } from "@/lib/library-queries";
import { columnsFor, rowsOf } from "@/lib/rows";
import { useLaterStrings } from "@/lib/use-later-strings";

const GAP_PX = 16;
const TEXT_PX = 128;
const ROWS_BEYOND = 3;

type Props = {
  images: readonly (LibraryImage | LibraryHit)[];
  onLike: (image: LibraryImage) => void;
  hasMore: boolean;
  isLoading: boolean;
  onMore: () => void;
};

/** Pictures in rows, of which only those near the window are there. */
export function Gallery({ images, onLike, hasMore, isLoading, onMore }: Props) {
  const { find } = useLaterStrings();
  const { add } = useWorkspace();
  const announce = useAnnounce();
  const list = useRef<HTMLDivElement>(null);
  const { width, top } = usePlace(list);
  const [leaving, setLeaving] = useState<LibraryImage | null>(null);
  const columns = columnsFor(width);
  const rows = rowsOf(images, columns);
  const virtualizer = useWindowVirtualizer({
    count: rows.length,
    estimateSize: () => ((width / columns) * 3) / 4 + TEXT_PX,
    overscan: ROWS_BEYOND,
    gap: GAP_PX,
    scrollMargin: top,
  });
  const shown = virtualizer.getVirtualItems();
  const last = shown.at(-1)?.index ?? 0;
  useEffect(() => {
    if (hasMore && !isLoading && rows.length && last >= rows.length - 1) onMore();
  });
  const original = useOriginal((image, picture) => {
    const file = new File([picture], titleOf(image), { type: picture.type });
    void add({ files: [file], cut: false });
    window.location.hash = addressOf("describe");
  });
  return (
    <div className="space-y-4">
      {original.error && (
        <ProblemNote error={original.error} onAgain={() => original.variables && original.mutate(original.variables)} />
      )}
      <div ref={list} role="list" className="relative" style={{ height: virtualizer.getTotalSize() }}>
        {shown.map(({ index, start, key }) => (
          <div
            key={key}
            data-index={index}
            ref={virtualizer.measureElement}
            className="absolute inset-x-0 top-0 grid gap-4"
            style={{ transform: `translateY(${start - top}px)`, gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}
          >
            {rows[index]?.map((image, place) => (
              <div
                key={image.id}
                role="listitem"
                aria-posinset={index * columns + place + 1}
                aria-setsize={hasMore ? -1 : images.length}
              >
                <Tile
                  image={image}
                  isOpening={original.isPending && original.variables.id === image.id}
                  onOpen={() => original.mutate(image)}
                  onLike={() => onLike(image)}
                  onRemove={() => setLeaving(image)}
                />
              </div>
            ))}
          </div>
        ))}
      </div>
      <p role="status" className={isLoading ? "flex items-center gap-2 text-sm text-muted" : "sr-only"}>
        {isLoading && (
          <>
            <Spinner /> {find.moreLoading}
          </>
        )}
      </p>
      <RemoveDialog
        image={leaving}
        onClose={() => setLeaving(null)}
        onDone={(image) => {
          setLeaving(null);
          announce(find.removed(titleOf(image)));
          document.getElementById("content")?.focus({ preventScroll: true }); // its button is gone
        }}
      />
    </div>
  );
}

/** How wide the list is and how far below the page's top; both stay while the view is hidden. */
function usePlace(list: React.RefObject<HTMLDivElement | null>) {
  const [place, setPlace] = useState({ width: 0, top: 0 });
  useLayoutEffect(() => {
    const element = list.current;
    if (!element) return;
    const measure = () => {
      const box = element.getBoundingClientRect();
      if (!box.width) return;
      const next = { width: box.width, top: Math.round(box.top + window.scrollY) };
      setPlace((now) => (now.width === next.width && now.top === next.top ? now : next));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    observer.observe(document.body); // what stands above it has grown or gone
    return () => observer.disconnect();
  }, [list]);
  return place;
}
