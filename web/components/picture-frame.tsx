"use client";

import { PictureIcon } from "@/components/ui/icons";
import { classes } from "@/lib/classes";
import type { Picture } from "@/lib/pictures";
import { useStrings } from "@/lib/use-strings";

/** The whole picture, whatever its shape, in a frame of one shape. */
export function PictureFrame({ picture, className }: { picture: Picture; className?: string }) {
  const { picture: words } = useStrings();
  return (
    <div className={classes("grid place-items-center overflow-hidden rounded-xl bg-sunken", className)}>
      {picture.preview ? (
        <img src={picture.preview} alt={picture.name} className="size-full min-h-0 object-contain" />
      ) : (
        <div className="grid justify-items-center gap-2 p-4 text-center text-sm text-muted">
          <PictureIcon className="size-8" />
          {words.noPreview}
        </div>
      )}
    </div>
  );
}
