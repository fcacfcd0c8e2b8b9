#!/usr/bin/env bash
# Puts the ONNX Runtime library where outlierd looks for it: .outlierd/onnxruntime/libonnxruntime.so
# It comes from the official Python wheel, of which one file and the licences are unpacked. Version and checksums are
# pinned here. Fast when the library is there already. Needs python3 with pip, and the package index unless pip is
# configured otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."

version=1.31.1
member=onnxruntime/capi/libonnxruntime.so.$version
dir=.outlierd/onnxruntime
library=$dir/libonnxruntime.so

fail() { printf 'get-onnxruntime: %s\n' "$@" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || fail "there is no pinned library for $(uname -s)." \
  "Install ONNX Runtime 1.17 or newer yourself and set ORT_DYLIB_PATH to its shared library."

case "$(uname -m)" in
  x86_64)
    platform=manylinux_2_28_x86_64
    wheel_sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
    library_sha256=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3 ;;
  aarch64 | arm64)
    platform=manylinux_2_28_aarch64
    wheel_sha256=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3
    library_sha256=8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467 ;;
  *) fail "there is no pinned library for $(uname -m)." \
    "Build ONNX Runtime 1.17 or newer and set ORT_DYLIB_PATH to its shared library." ;;
esac

# intact FILE SHA256
intact() { [ -f "$1" ] && printf '%s  %s\n' "$2" "$1" | sha256sum --check --status; }

if intact "$library" "$library_sha256"; then
  echo "ONNX Runtime $version: $library"
  exit 0
fi

command -v python3 >/dev/null || fail "python3 is missing. On Debian and Ubuntu: apt-get install python3 python3-pip"
if python3 -m pip --version >/dev/null 2>&1; then
  pip=(python3 -m pip)
elif command -v pip3 >/dev/null; then
  pip=(pip3)
else
  fail "pip is missing. On Debian and Ubuntu: apt-get install python3-pip"
fi

mkdir -p "$dir"
tmp=$(mktemp -d "$dir/download.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

echo "ONNX Runtime $version: downloading the wheel ($platform, 24 MB)"
# The wheel of one Python version, whichever Python runs here: only its library is used.
"${pip[@]}" download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp \
  --python-version 311 --platform "$platform" --dest "$tmp" "onnxruntime==$version" ||
  fail "pip could not download onnxruntime $version (its message stands above)." \
    "Without a network: put the wheel into a folder, set PIP_FIND_LINKS and PIP_NO_INDEX=1, and run this again."

wheel=$(echo "$tmp"/*.whl)
intact "$wheel" "$wheel_sha256" ||
  fail "$(basename "$wheel") has not the pinned checksum; nothing was installed." \
    "expected $wheel_sha256" "found    $(sha256sum "$wheel" | cut -d' ' -f1)"

python3 - "$wheel" "$member" "$tmp" <<'PYTHON'
import shutil, sys, zipfile
wheel, member, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name, to in [(member, "libonnxruntime.so"), ("onnxruntime/LICENSE", "LICENSE"),
                     ("onnxruntime/ThirdPartyNotices.txt", "ThirdPartyNotices.txt")]:
        with archive.open(name) as source, open(f"{out}/{to}", "wb") as target:
            shutil.copyfileobj(source, target)
PYTHON
intact "$tmp/libonnxruntime.so" "$library_sha256" || fail "the unpacked library has not the pinned checksum."

mv "$tmp/LICENSE" "$tmp/ThirdPartyNotices.txt" "$dir/"
mv "$tmp/libonnxruntime.so" "$library" # last: a rename, so that a half-written library is never seen
echo "ONNX Runtime $version: $library"
