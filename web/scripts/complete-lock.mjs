/**
 * Adds to package-lock.json the builds for other systems that the registry at hand did not have, so that `npm ci` finds
 * the lock whole everywhere. To be run after `npm install` has changed the lock, where `npm ci` says "Missing: …".
 */

import { readFileSync, writeFileSync } from "node:fs";

const PROCESSORS = ["arm64", "x64", "arm", "ia32", "loong64", "ppc64", "riscv64", "s390x", "wasm32"];
const SYSTEMS = ["android", "darwin", "freebsd", "linux", "openharmony", "win32"];

const lock = JSON.parse(readFileSync("package-lock.json", "utf-8"));
const added = [];
for (const { optionalDependencies = {} } of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const place = `node_modules/${name}`;
    if (lock.packages[place] || !/^\d/.test(version)) continue;
    const words = name.split(/[/-]/);
    const cpu = PROCESSORS.filter((each) => words.includes(each));
    const os = SYSTEMS.filter((each) => words.includes(each));
    if (!cpu.length) continue; // no build for a system
    lock.packages[place] = { version, cpu, optional: true, ...(os.length ? { os } : {}) };
    added.push(name);
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync("package-lock.json", `${JSON.stringify(lock, null, 2)}\n`);
console.log(added.join("\n"));
