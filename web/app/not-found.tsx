import { languages } from "@/lib/strings";

const strings = languages.en!;

// Next's own has style attributes, which the Content-Security-Policy forbids.
export default function NotFound() {
  return (
    <main className="mx-auto max-w-xl p-8">
      <h1 className="text-2xl font-semibold">{strings.missing.title}</h1>
      <p className="mt-4">
        {/* A whole load: the address was not one of this page's. */}
        {/* eslint-disable-next-line @next/next/no-html-link-for-pages */}
        <a className="text-accent underline" href="/">
          {strings.missing.home}
        </a>
      </p>
    </main>
  );
}
