#!/usr/bin/env bash
# Makes the virtual environment that `make` runs in, or leaves it alone when it is up to date.
#   deploy/setup.sh FOLDER LOCK...    e.g. deploy/setup.sh .venv cpu dev  (lock files of deploy/requirements)
# pip is used as it is configured on this machine. An interrupted run is noticed by the next one, which starts afresh.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
shift
unfinished=$venv/.unfinished
supported='import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))'

if [ -e "$unfinished" ]; then
  echo "An installation into $venv was interrupted: starting afresh."
  rm -rf "$venv"
fi
if ! "$venv/bin/python" -c "$supported" 2> /dev/null; then
  python=
  for candidate in ${PYTHON:-python3.11 python3.12 python3}; do
    if "$candidate" -c "$supported" 2> /dev/null; then python=$candidate && break; fi
  done
  if [ -z "$python" ]; then
    echo "Tandem needs Python 3.11 (or 3.12) with its venv module; tried: ${PYTHON:-python3.11, python3.12, python3}." >&2
    echo "Install it (Debian: apt-get install python3.11-venv) or name one: make PYTHON=/path/to/python3.11 ..." >&2
    exit 1
  fi
  echo "Making $venv with $("$python" --version)."
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi

digest() { cat "deploy/requirements/$1.txt" pyproject.toml | sha256sum | cut -d' ' -f1; }
names=()
for name in "$@"; do
  [ "$(cat "$venv/.installed-$name" 2> /dev/null)" = "$(digest "$name")" ] || names+=("$name")
done
[ ${#names[@]} -gt 0 ] || exit 0
locks=("${names[@]/#/deploy/requirements/}")
locks=("${locks[@]/%/.txt}")
touch "$unfinished"

packages=$(cat "${locks[@]}" | grep -c ==)
case "${names[0]}" in
  cpu) volume="1.2 GB to download, 4.5 GB on disk" ;;
  dev) volume="0.2 GB to download, 0.5 GB on disk" ;;
  *) volume="5 GB to download, 12 GB on disk" ;;
esac
echo "Installing $packages packages into $venv (about $volume where nothing is there yet)."

# pip is silent while it unpacks: tell how many packages are there.
report() {
  local there end=$'\n' pause=10
  if [ -t 1 ]; then end=$'\r' pause=1; fi
  while sleep "$pause" > /dev/null 2>&1; do
    there=$(find "$venv"/lib/python3*/site-packages -maxdepth 1 -name '*.dist-info' -newer "$unfinished" | wc -l)
    printf '  %d of %d packages installed, %d s  %s' "$((there > packages ? packages : there))" "$packages" "$SECONDS" "$end"
  done
}
report &
reporter=$!
trap 'kill "$reporter" 2> /dev/null || true' EXIT

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
torch=$(grep -h '^torch==.*+cpu' "${locks[@]}" || true)
if [ -n "$torch" ] && ! pip install --quiet --no-deps "$torch" 2> /dev/null; then
  echo "The configured package index has no $torch: taking it from PyTorch's own."
  pip install --no-deps --progress-bar off --index-url https://download.pytorch.org/whl/cpu "$torch"
fi
pip install --quiet --no-deps "${locks[@]/#/--requirement=}"
pip install --quiet --no-deps --editable .

for name in "${names[@]}"; do digest "$name" > "$venv/.installed-$name"; done
rm "$unfinished"
echo "Done: $venv is ready ($SECONDS s)."
