"use client";

import { useEffect, useRef, type ReactNode } from "react";

import { Button } from "@/components/ui/button";
import { CloseIcon } from "@/components/ui/icons";

type Props = { open: boolean; onClose: () => void; title: string; close: string; children: ReactNode };

/** The browser's own modal dialog: it holds the focus, gives it back, and Escape closes it. */
export function Dialog({ open, onClose, title, close, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    if (open && !element?.open) {
      element?.showModal();
      element?.querySelector<HTMLElement>("[data-first]")?.focus(); // else it is the close button
    }
    if (!open && element?.open) element.close();
  }, [open]);
  return (
    <dialog
      ref={dialog}
      onClose={onClose}
      onClick={(event) => event.target === event.currentTarget && onClose()}
      aria-label={title}
      className="m-auto w-[min(28rem,calc(100vw-2rem))] rounded-2xl border border-line bg-surface p-0 text-ink shadow-xl"
    >
      {open && (
        <div className="p-5">
          <div className="mb-4 flex items-start justify-between gap-4">
            <h2 className="text-lg font-semibold">{title}</h2>
            <Button kind="quiet" size="icon" className="-mt-1.5 -mr-2" aria-label={close} onClick={onClose}>
              <CloseIcon />
            </Button>
          </div>
          {children}
        </div>
      )}
    </dialog>
  );
}
