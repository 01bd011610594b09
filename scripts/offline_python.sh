# Sourced by scripts that also run where nothing can be installed from a network.
# offline_python ROOT [WHEELS] sets `python` to $PYTHON, or to an interpreter of the checkout or the system,
# and makes the package and the wheels of a folder importable; wheels are removed at the end of the script.
offline_python() {
    local root="$1" wheels="${2:-}" path="$1"
    python="${PYTHON:-}"
    if [ -z "$python" ]; then
        python="$root/.venv/bin/python"
        [ -x "$python" ] || python=python3
    fi
    if [ -n "$wheels" ]; then
        site="$(mktemp -d)"
        trap 'rm -rf "$site"' EXIT
        "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
            --target "$site" "$wheels"/*.whl
        path="$root:$site"
    fi
    export PYTHONPATH="$path${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
}
