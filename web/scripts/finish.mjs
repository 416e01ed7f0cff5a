/**
 * What `next build` leaves in out/ -> the folder that `openblip serve` serves.
 *
 * Drops what a page of one address never asks for, notes the SHA-256 of every script that stands in a page (policy.json,
 * for the Content-Security-Policy), compresses what is text, and fails where the first load is too heavy or a page has
 * what the policy forbids.
 */

import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";

const WEB = dirname(dirname(fileURLToPath(import.meta.url)));
const OUT = join(WEB, "out");
const TARGET = join(WEB, "..", "src", "openblip", "serve", "built_page");
const FIRST_LOAD_BYTES = 150_000;
const TEXTS = new Set([".html", ".js", ".css", ".svg"]);
const NOT_ASKED_FOR = /(?:\.txt|^_not-found.*|_buildManifest\.js|_ssgManifest\.js|_clientMiddlewareManifest\.js.*)$/;

const files = (folder) => {
  const found = readdirSync(folder, { recursive: true }).map((name) => join(folder, name));
  return found.filter((file) => statSync(file).isFile());
};
const fail = (message) => {
  console.error(`finish: ${message}`);
  process.exit(1);
};

for (const file of files(OUT)) {
  if (NOT_ASKED_FOR.test(relative(OUT, file))) rmSync(file);
}

const policy = {};
for (const file of files(OUT).filter((each) => each.endsWith(".html"))) {
  const html = readFileSync(file, "utf-8");
  const name = relative(OUT, file);
  const scripts = [...html.matchAll(/<script(?<attributes>[^>]*)>(?<text>[^]*?)<\/script>/g)];
  const inline = scripts.filter(({ groups }) => !/\bsrc=/.test(groups.attributes)).map(({ groups }) => groups.text);
  policy[name] = inline.map((text) => `sha256-${createHash("sha256").update(text).digest("base64")}`);
  const plain = html.replace(/<script[^]*?<\/script>/g, "");
  if (/<style[\s>]|\sstyle="|\son[a-z]+="/.test(plain)) fail(`${name} has inline styles or handlers, which the policy forbids`);
}
writeFileSync(join(OUT, "policy.json"), `${JSON.stringify(policy, null, 1)}\n`);

const index = readFileSync(join(OUT, "index.html"), "utf-8");
const first = new Set([...index.matchAll(/<script(?<attributes>[^>]*)\bsrc="(?<source>[^"]+)"(?<rest>[^>]*)>/g)]
  .filter(({ groups }) => !/\bnomodule\b/i.test(groups.attributes + groups.rest))
  .map(({ groups }) => groups.source));
const bytes = [...first].reduce((sum, source) => sum + brotliCompressSync(readFileSync(join(OUT, source))).length, 0);
if (first.size === 0) fail("index.html loads no script");
if (bytes > FIRST_LOAD_BYTES) fail(`the first load is ${bytes} bytes of compressed JavaScript, above ${FIRST_LOAD_BYTES}`);
console.log(`first load: ${bytes} bytes of compressed JavaScript (Brotli) in ${first.size} files (at most ${FIRST_LOAD_BYTES})`);

for (const file of files(OUT).filter((each) => TEXTS.has(extname(each)))) {
  const content = readFileSync(file);
  writeFileSync(`${file}.br`, brotliCompressSync(content));
  writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 })); // browsers take Brotli over https and from localhost alone
}

rmSync(TARGET, { recursive: true, force: true });
mkdirSync(dirname(TARGET), { recursive: true });
cpSync(OUT, TARGET, { recursive: true });
