#!/bin/sh
# Installs with apt what simsmoe needs on Debian 12 and does not find; asks no network when nothing is missing.
# Without an option: what building, testing and training need. --dev adds the tools of contributors.
set -eu

packages="make cmake ninja-build g++ libeigen3-dev libfmt-dev doctest-dev libcli11-dev libtomlplusplus-dev
  nlohmann-json3-dev libdnnl-dev ocl-icd-opencl-dev libxxhash-dev zlib1g-dev liblzma-dev dict-gcide tmux"
developer_packages="ccache clang clang-format clang-tidy cppcheck libclang-rt-14-dev libomp-dev
  libbenchmark-dev python3"

fail() {
  echo "install-debian.sh: $1" >&2
  exit 1
}

case "${1:-}" in
  "") ;;
  --dev) packages="$packages $developer_packages" ;;
  *) fail "unknown option '$1', expected nothing or --dev" ;;
esac
command -v dpkg-query >/dev/null || fail "this system has no dpkg; third_party/README.md lists what to install"

missing=""
for package in $packages; do
  status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || true
  [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=""
elif command -v sudo >/dev/null; then
  as_root=sudo
else
  fail "as root, run: apt-get install --no-install-recommends$missing"
fi

echo "Installing$missing"
apt_get() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" </dev/null
}
apt_get update
# $missing is a list of words.
# shellcheck disable=SC2086
apt_get install --yes --no-install-recommends $missing
