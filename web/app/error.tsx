"use client";

import { Button } from "@/components/ui/button";
import { useStrings } from "@/lib/use-strings";

/** For what nobody foresaw. What was typed stands in the tab's storage and is there again afterwards. */
export default function Failed() {
  const { crash } = useStrings();
  return (
    <main className="mx-auto max-w-xl space-y-4 p-8" role="alert">
      <h1 className="text-2xl font-semibold">{crash.title}</h1>
      <Button onClick={() => window.location.reload()}>{crash.again}</Button>
    </main>
  );
}
