#!/usr/bin/env bash
# Installs what tests need from the system's package manager: Chromium (browser tests) and PostgreSQL (store tests).
# Where it cannot, it says so; the tests that need them are then skipped with a loud line.
set -u
missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v pg_ctl >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/pg_ctl' >/dev/null || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit 0
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
if command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }; then
    echo "Installing for tests: ${missing[*]}"
    if "${as_root[@]}" apt-get update -qq && \
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
        exit 0
    fi
fi
echo "WARNING: could not install ${missing[*]}; install them by hand, else the tests that need them are skipped" >&2
exit 0
