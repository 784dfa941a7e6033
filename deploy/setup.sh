#!/usr/bin/env bash
# Makes the virtual environment that `make` runs in, or leaves it alone when it is up to date.
#   deploy/setup.sh FOLDER LOCK...            e.g. deploy/setup.sh .venv cpu dev  (lock files of deploy/requirements)
#   deploy/setup.sh --on-image FOLDER LOCK    in an image that brings vLLM: vllm-ascend's (ascend) or vLLM's own (cuda)
# pip is used as it is configured on this machine. An interrupted run is noticed by the next one, which starts afresh.
# With --on-image, and with `ascend` always, the environment lies on top of the image's Python: vLLM, torch and what
# else is there stay as they are, and only what is missing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
on_image=
if [ "$1" = --on-image ]; then on_image=yes && shift; fi
venv=$1
shift
if [ "$1" = ascend ]; then on_image=yes; fi
unfinished=$venv/.unfinished
supported='import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))'
candidates=${PYTHON:-python3.11 python3.12 python3}
venv_options=
if [ -n "$on_image" ]; then
  venv_options=--system-site-packages
  candidates=${PYTHON:-python3 python3.11 python3.12}
  engines="'vllm'"
  if [ "$1" = ascend ]; then engines="'vllm', 'vllm_ascend'"; fi
  supported="import importlib.util as u; all(map(u.find_spec, [$engines])) or exit(1); $supported"
fi

if [ -e "$unfinished" ]; then
  echo "An installation into $venv was interrupted: starting afresh."
  rm -rf "$venv"
fi
if ! "$venv/bin/python" -c "$supported" 2> /dev/null; then
  python=
  for candidate in $candidates; do
    if "$candidate" -c "$supported" 2> /dev/null; then python=$candidate && break; fi
  done
  if [ -z "$python" ] && [ "$1" != ascend ] && [ -n "$venv_options" ]; then
    echo "With --on-image Tandem needs a Python 3.11 or 3.12 that has vLLM and venv; tried: $candidates." >&2
    exit 1
  fi
  if [ -z "$python" ] && [ -n "$venv_options" ]; then
    echo "Tandem needs a Python 3.11 or 3.12 with vLLM and vllm-ascend to serve on an NPU; tried: $candidates." >&2
    echo "Run it in the image of vllm-ascend (see deploy/docs/en/ascend.md), or on this CPU: make DEVICE=cpu ..." >&2
    exit 1
  fi
  if [ -z "$python" ]; then
    echo "Tandem needs Python 3.11 (or 3.12) with its venv module; tried: $candidates." >&2
    echo "Install it (Debian: apt-get install python3.11-venv) or name one: make PYTHON=/path/to/python3.11 ..." >&2
    exit 1
  fi
  echo "Making $venv with $("$python" --version)."
  rm -rf "$venv"
  "$python" -m venv $venv_options "$venv"
fi

plugin=retrieval/langchain-plugin
digest() { cat "deploy/requirements/$1.txt" pyproject.toml "$plugin/pyproject.toml" | sha256sum | cut -d' ' -f1; }
names=()
for name in "$@"; do
  [ "$(cat "$venv/.installed-$name" 2> /dev/null)" = "$(digest "$name")" ] || names+=("$name")
done
[ ${#names[@]} -gt 0 ] || exit 0
locks=("${names[@]/#/deploy/requirements/}")
locks=("${locks[@]/%/.txt}")
touch "$unfinished"

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
locked() { pip install --no-deps --require-hashes "$@"; }  # refuses a file that is not the one that was locked
ours() { pip install --quiet --no-deps --no-build-isolation --editable . --editable "$plugin"; }

if [ -n "$venv_options" ]; then
  rounds=0  # what a package requires is known when it is there: asked again until nothing is missing
  until missing=$("$venv/bin/python" deploy/requirements/alongside.py "${locks[0]}") && [ -z "$missing" ]; do
    if [ $((rounds += 1)) -gt 6 ]; then
      echo "Still missing, or of a wrong version: $(grep -o '^[^ ]*==[^ ]*' <<< "$missing" | tr '\n' ' ')" >&2
      exit 1
    fi
    echo "Installing $(grep -c == <<< "$missing") packages into $venv, alongside those of the image."
    locked --quiet --requirement <(echo "$missing")
  done
  ours
  digest "$1" > "$venv/.installed-$1"
  rm "$unfinished"
  echo "Done: $venv is ready ($SECONDS s)."
  exit 0
fi

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

torch=$(grep -h -A 1 '^torch==.*+cpu' "${locks[@]}" || true)
if [ -n "$torch" ] && ! locked --quiet --requirement <(echo "$torch") 2> /dev/null; then
  echo "The configured package index has no ${torch%% *}: taking it from PyTorch's own."
  locked --progress-bar off --index-url https://download.pytorch.org/whl/cpu --requirement <(echo "$torch")
fi
locked --quiet "${locks[@]/#/--requirement=}"
ours

for name in "${names[@]}"; do digest "$name" > "$venv/.installed-$name"; done
rm "$unfinished"
echo "Done: $venv is ready ($SECONDS s)."
