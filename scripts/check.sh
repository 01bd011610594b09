#!/usr/bin/env bash
# Format, lint, types, floors and tests: all that a change has to pass.
# Usage: check.sh [--fast] [pytest arguments]   --fast leaves out slow and browser tests
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh dev
. .venv/bin/activate

markers="not gpu"
if [ "${1:-}" = "--fast" ]; then
    markers="not gpu and not slow and not browser"
    shift
fi

install_browser() {
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo -n)
    echo "installing chromium for the browser tests" >&2
    if command -v apt-get >/dev/null && "${root[@]}" true 2>/dev/null &&
        "${root[@]}" apt-get update -qq >&2 &&
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
            --no-install-recommends chromium chromium-driver >&2
    then
        return
    fi
    echo "error: chromium could not be installed; install Debian's chromium and chromium-driver," \
        "or use --fast" >&2
    exit 2
}

case "$markers" in
    *"not browser"*) ;;
    *) if ! { command -v chromium && command -v chromedriver; } >/dev/null; then install_browser; fi ;;
esac

ruff format --check .
ruff check .
mypy
lint-imports
python -m pytest -m "$markers" -n 2 "$@"
