#!/usr/bin/env bash
# Puts the programs that tests run against into ${OUTLIERD_PEERS:-~/.cache/outlierd/peers}:
#   node_exporter-1.12.1, vmagent-1.150.0   built with `go install` (this vmagent speaks zstd)
#   node_exporter-1.5, vmagent-1.79         from the Debian 12 packages (this vmagent speaks snappy)
#   victoria-metrics-1.150.0                built with `go install`
#   victoria-metrics-1.79, prometheus-2.42, promtool-2.42  from the Debian 12 packages
#   alertmanager-0.28.1                     built with `go install` (Debian's reads its templates from /usr/share alone)
#   prometheus-reference                    tests/peers/prometheus, built anew when its sources changed; minutes the first time
# Nothing is installed or started on the machine. Prints one line per peer.
#
#   peers.sh         fetches what it can and always succeeds
#   peers.sh --ci    fails when a peer is missing
set -euo pipefail

ci=false
case "${1:-}" in
  --ci) ci=true ;;
  '') ;;
  *) echo "usage: $0 [--ci]" >&2; exit 2 ;;
esac

root=$(cd "$(dirname "$0")/.." && pwd)
peers=${OUTLIERD_PEERS:-$HOME/.cache/outlierd/peers}
mkdir -p "$peers"
peers=$(cd "$peers" && pwd)
tmp=$(mktemp -d)
trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
missing=0

present() { printf 'peers: %-22s present: %s\n' "$1" "$peers/$1"; }
absent() { printf 'peers: %-22s MISSING: %s\n' "$1" "$2"; missing=$((missing + 1)); }

# from_go PEER MODULE@VERSION
from_go() {
  local peer=$1 module=$2 program
  program=$(basename "${module%@*}")
  if [ -x "$peers/$peer" ]; then present "$peer"; return; fi
  if ! command -v go >/dev/null; then absent "$peer" "Go is missing. On Debian: apt-get install golang"; return; fi
  if GOFLAGS= GOBIN="$tmp/go" go install "$module" >"$tmp/log" 2>&1; then
    mv "$tmp/go/$program" "$peers/$peer"
    present "$peer"
  else
    absent "$peer" "go install $module: $(tail -n 1 "$tmp/log")"
  fi
}

# from_sources PEER FOLDER-OF-A-GO-MODULE
from_sources() {
  local peer=$1 sources=$2 sum
  sum=$(cat "$sources"/{go.mod,go.sum,*.go} | cksum)
  if [ -x "$peers/$peer" ] && [ "$(cat "$peers/$peer.cksum" 2>/dev/null)" = "$sum" ]; then present "$peer"; return; fi
  if ! command -v go >/dev/null; then absent "$peer" "Go is missing. On Debian: apt-get install golang"; return; fi
  echo "peers: building $peer, minutes the first time" >&2
  if (cd "$sources" && GOFLAGS=-buildvcs=false go build -trimpath -o "$tmp/$peer" .) >"$tmp/log" 2>&1; then
    mv "$tmp/$peer" "$peers/$peer"
    echo "$sum" >"$peers/$peer.cksum"
    present "$peer"
  else
    rm -f "$peers/$peer"
    absent "$peer" "go build in $sources: $(tail -n 1 "$tmp/log")"
  fi
}

# from_debian PEER PACKAGE VERSION-PREFIX PATH-IN-PACKAGE
from_debian() {
  local peer=$1 package=$2 wanted=$3 path=$4 version deb
  if [ -x "$peers/$peer" ]; then present "$peer"; return; fi
  if ! command -v dpkg-deb >/dev/null || ! command -v apt-get >/dev/null; then
    absent "$peer" "it comes from Debian 12's package $package, and this machine has no apt"; return
  fi
  version=$(dpkg-query -W -f='${Version}' "$package" 2>/dev/null || true)
  if [[ $version == "$wanted"* && -x $path ]]; then
    ln -sf "$path" "$peers/$peer"
    present "$peer"; return
  fi
  mkdir -p "$tmp/$package"
  if ! download "$package"; then absent "$peer" "apt-get download $package: $(tail -n 1 "$tmp/log")"; return; fi
  deb=$(echo "$tmp/$package"/*.deb)
  version=$(dpkg-deb -f "$deb" Version)
  if [[ $version != "$wanted"* ]]; then
    absent "$peer" "this distribution's $package is $version, the test needs Debian 12's $wanted"; return
  fi
  dpkg-deb -x "$deb" "$tmp/$package/root"
  mv "$tmp/$package/root$path" "$peers/$peer"
  present "$peer"
}

# download PACKAGE: with the package lists that are there; if that fails, with fresh ones (needs root or sudo).
download() {
  fetch() { (cd "$tmp/$1" && apt-get download -q "$1" -o APT::Sandbox::User=root) >"$tmp/log" 2>&1; }
  fetch "$1" && return
  if [ "$(id -u)" = 0 ]; then
    apt-get update -q >"$tmp/log" 2>&1 && fetch "$1"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n apt-get update -q >"$tmp/log" 2>&1 && fetch "$1"
  else
    return 1
  fi
}

from_debian node_exporter-1.5 prometheus-node-exporter 1.5. /usr/bin/prometheus-node-exporter
from_debian vmagent-1.79 victoria-metrics 1.79. /usr/bin/vmagent
from_debian victoria-metrics-1.79 victoria-metrics 1.79. /usr/bin/victoria-metrics
from_debian prometheus-2.42 prometheus 2.42. /usr/bin/prometheus
from_debian promtool-2.42 prometheus 2.42. /usr/bin/promtool
from_go node_exporter-1.12.1 github.com/prometheus/node_exporter@v1.12.1
from_go vmagent-1.150.0 github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent@v1.150.0
from_go victoria-metrics-1.150.0 github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.150.0
from_go alertmanager-0.28.1 github.com/prometheus/alertmanager/cmd/alertmanager@v0.28.1
from_sources prometheus-reference "$root/tests/peers/prometheus"

if [ "$missing" -gt 0 ] && $ci; then
  echo "peers: $missing missing, and with --ci all are needed" >&2
  exit 1
fi
