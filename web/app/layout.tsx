import type { Metadata, Viewport } from "next";
import type { ReactNode } from "react";

import "@/app/globals.css";
import { languages } from "@/lib/strings";

const strings = languages.en!;

export const metadata: Metadata = { title: strings.title, description: strings.tagline };

export const viewport: Viewport = {
  width: "device-width",
  initialScale: 1,
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#f7f7f5" },
    { media: "(prefers-color-scheme: dark)", color: "#141614" },
  ],
};

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang={strings.language}>
      <body className="min-h-dvh font-sans antialiased">{children}</body>
    </html>
  );
}
