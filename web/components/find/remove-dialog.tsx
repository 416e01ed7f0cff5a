"use client";

import { ProblemNote } from "@/components/problem";
import { Button } from "@/components/ui/button";
import { Dialog } from "@/components/ui/dialog";
import { Spinner } from "@/components/ui/spinner";
import type { LibraryImage } from "@/lib/api/schemas";
import { titleOf } from "@/lib/library";
import { useTakeOut } from "@/lib/library-queries";
import { shownName } from "@/lib/names";
import { useLaterStrings } from "@/lib/use-later-strings";
import { useStrings } from "@/lib/use-strings";

type Props = { image: LibraryImage | null; onClose: () => void; onDone: (image: LibraryImage) => void };

/** Whether a picture shall really leave the library. */
export function RemoveDialog({ image, onClose, onDone }: Props) {
  const { find } = useLaterStrings();
  const { status } = useStrings();
  const leaving = useTakeOut(onDone);
  const close = () => {
    leaving.reset();
    onClose();
  };
  return (
    <Dialog open={image !== null} onClose={close} title={find.removeTitle} close={status.close}>
      {image && (
        <div className="space-y-4">
          <p className="break-words">
            <bdi className="font-medium">{shownName(titleOf(image))}</bdi>
          </p>
          <p className="text-sm text-muted">{find.removeAbout}</p>
          {leaving.error && <ProblemNote error={leaving.error} onAgain={() => leaving.mutate(image)} />}
          <div className="flex flex-wrap justify-end gap-2">
            <Button kind="plain" data-first onClick={close}>
              {find.removeNo}
            </Button>
            <Button disabled={leaving.isPending} onClick={() => leaving.mutate(image)}>
              {leaving.isPending && <Spinner />}
              {find.removeYes}
            </Button>
          </div>
        </div>
      )}
    </Dialog>
  );
}
