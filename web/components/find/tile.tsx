"use client";

import { useEffect, useState } from "react";

import { Bar } from "@/components/ui/bar";
import { Button } from "@/components/ui/button";
import { BinIcon, SearchIcon, WarningIcon } from "@/components/ui/icons";
import { Spinner } from "@/components/ui/spinner";
import { ServiceError } from "@/lib/api/errors";
import type { LibraryHit, LibraryImage } from "@/lib/api/schemas";
import { titleOf } from "@/lib/library";
import { useThumbnail } from "@/lib/library-queries";
import { shownName } from "@/lib/names";
import { useLaterStrings } from "@/lib/use-later-strings";

type Props = {
  image: LibraryImage | LibraryHit;
  isOpening: boolean;
  onOpen: () => void;
  onLike: () => void;
  onRemove: () => void;
};

/** A picture of the library: what it looks like, what is known of it, and what can be done with it. */
export function Tile({ image, isOpening, onOpen, onLike, onRemove }: Props) {
  const { find } = useLaterStrings();
  const title = shownName(titleOf(image));
  return (
    <article aria-label={title} className="flex flex-col overflow-hidden rounded-xl border border-line bg-surface">
      <button
        type="button"
        onClick={onOpen}
        className="relative block aspect-4/3 w-full overflow-hidden bg-sunken -outline-offset-2!"
      >
        <span className="sr-only">{find.open(title)}</span>
        <Thumbnail image={image} />
        {isOpening && (
          <span role="status" className="absolute inset-x-2 bottom-2 flex items-center gap-2 rounded-lg bg-surface px-2 py-1 text-sm">
            <Spinner /> {find.opening}
          </span>
        )}
      </button>
      <div className="flex min-w-0 flex-1 flex-col gap-1 px-3 pt-2 pb-1">
        <p className="line-clamp-2 min-h-[2lh] text-sm leading-snug break-words" title={titleOf(image)}>
          <bdi>{title}</bdi>
        </p>
        <div className="flex items-center justify-between gap-1">
          <Score image={image} />
          <span className="-mr-2 flex shrink-0">
            <Button kind="quiet" size="icon" aria-label={find.similar(title)} title={find.similar(title)} onClick={onLike}>
              <SearchIcon className="size-4" />
            </Button>
            <Button kind="quiet" size="icon" aria-label={find.remove(title)} title={find.remove(title)} onClick={onRemove}>
              <BinIcon className="size-4" />
            </Button>
          </span>
        </div>
      </div>
    </article>
  );
}

/** A probability where the model looked again; else the cosine; of the gallery's own, the size. */
function Score({ image }: { image: LibraryImage | LibraryHit }) {
  const { find } = useLaterStrings();
  if (!("similarity" in image)) {
    return <span className="min-w-0 truncate text-xs text-muted tabular-nums">{`${image.width} × ${image.height}`}</span>;
  }
  const { probability } = image;
  if (probability === null) {
    return (
      <span className="min-w-0 truncate text-xs text-muted tabular-nums" title={find.similarityAbout}>
        <span className="max-sm:sr-only">{find.similarity}</span> {image.similarity.toFixed(2)}
      </span>
    );
  }
  const percent = 100 * probability;
  return (
    <span className="inline-flex min-w-0 items-center gap-2 text-xs whitespace-nowrap text-muted" title={find.fitsAbout}>
      <Bar share={probability} label={find.fits} className="w-10 sm:w-14" />
      <span className="tabular-nums">{percent > 0 && percent < 1 ? "< 1" : Math.round(percent)} %</span>
    </span>
  );
}

function Thumbnail({ image }: { image: LibraryImage }) {
  const { find } = useLaterStrings();
  const { data, error } = useThumbnail(image);
  const url = useAddress(data);
  if (error) {
    const isGone = error instanceof ServiceError && error.code === "picture_gone";
    return (
      <span
        title={isGone ? find.goneAbout : undefined}
        className="grid size-full place-content-center justify-items-center gap-1 p-2 text-center text-sm text-muted"
      >
        <WarningIcon className="size-6" />
        {isGone ? find.gone : find.unseen}
      </span>
    );
  }
  if (!url) return <span className="block size-full animate-pulse bg-line/60" />;
  return <img src={url} alt="" className="size-full object-cover" />;
}

/** Of these bytes, for as long as they are shown. */
function useAddress(data: Blob | undefined): string {
  const [url, setUrl] = useState("");
  useEffect(() => {
    if (!data) return;
    const made = URL.createObjectURL(data);
    // An address is a thing of the browser's, to be made and freed, not a value.
    // eslint-disable-next-line react-hooks/set-state-in-effect
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [data]);
  return url;
}
