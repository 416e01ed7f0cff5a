#!/bin/sh
# Whether what is named (node, chromium) is there to build and test the page with; says what lacks, and fails then.
lacks=0
for each in "$@"; do
    case $each in
    node)
        if ! command -v npm >/dev/null || ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 9) ? 0 : 1)' 2>/dev/null; then
            echo "the page needs npm and Node 20.9 or newer, and finds $(node --version 2>/dev/null || echo none): install them (nodejs.org)" >&2
            lacks=1
        fi
        ;;
    chromium)
        if [ ! -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
            echo "the page's tests need Chromium, and find none at ${CHROMIUM:-/usr/bin/chromium}: install it, or set CHROMIUM to it" >&2
            lacks=1
        fi
        ;;
    esac
done
exit $lacks
