#!/usr/bin/env bash
# Records what a real Prometheus and real vmagents send of a real node_exporter, for tests/it/senders: zip files of `outlierd record`'s
# folders in tests/fixtures/senders. Needs scripts/peers.sh to have run, and target/debug/outlierd; takes 21 minutes, since the
# intervals are real ones. Everything listens on loopback.
set -euo pipefail
cd "$(dirname "$0")/.."
peers=${OUTLIERD_PEERS:-$HOME/.cache/outlierd/peers}
out=$PWD/tests/fixtures/senders
tmp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$tmp"' EXIT
cp target/debug/outlierd "$tmp/outlierd"
port=24000

# What the preset reads; of a quick sender only a few.
all='up|node_cpu_seconds_total|node_load.*|node_memory_(MemAvailable|MemTotal|MemFree|Shmem|SwapFree|SwapTotal)_bytes|node_vmstat_(pswpin|pswpout|pgmajfault|oom_kill)|node_disk_.*_total|node_network_(receive|transmit)_(bytes|packets|errs|drop)_total|node_network_(info|speed_bytes|protocol_type|iface_id|iface_link)|node_netstat_(Tcp|TcpExt|Udp)_.*|node_context_switches_total|node_forks_total|node_procs_blocked|node_filefd_allocated|node_pressure_.*_waiting_seconds_total'
few='up|node_cpu_seconds_total|node_load1|node_memory_Mem(Available|Total)_bytes|node_context_switches_total|node_forks_total'

# config FILE INTERVAL METRICS REPLICA TARGET
config() {
  local replica=''
  [ -z "$4" ] || replica=", external_labels: {prometheus_replica: $4}"
  cat >"$1" <<YAML
global: {scrape_interval: $2$replica}
scrape_configs:
  - job_name: node
    metric_relabel_configs: [{source_labels: [__name__], regex: "$3", action: keep}]
    static_configs: [{targets: ["$5"], labels: {instance: "host-1:9100"}}]
YAML
}

# record NAME DURATION: listens on $port
record() {
  port=$((port + 1))
  "$tmp/outlierd" record --out "$tmp/$1" --web.listen-address "127.0.0.1:$port" --duration "$2" >"$tmp/$1.log" 2>&1 &
}

# prometheus NAME INTERVAL DURATION
prometheus() {
  record "$1" "$3"
  config "$tmp/$1.yml" "$2" "$all" '' 127.0.0.1:24900
  printf 'remote_write:\n  - {url: "http://127.0.0.1:%s/api/v1/write", write_relabel_configs: [{source_labels: [__name__], regex: "%s", action: keep}]}\n' \
    "$port" "$all" >>"$tmp/$1.yml"
  "$peers/prometheus-2.42" --config.file="$tmp/$1.yml" --storage.tsdb.path="$tmp/$1.tsdb" \
    --web.listen-address="127.0.0.1:$((port + 100))" >"$tmp/$1.prometheus.log" 2>&1 &
}

# vmagent NAME INTERVAL METRICS REPLICA VERSION SECONDS [TARGET]: sends to $port
vmagent() {
  local flags=()
  config "$tmp/$1-$4.yml" "$2" "$3" "$4" "${7:-127.0.0.1:24900}"
  [ "$5" = 1.79 ] || flags=(-remoteWrite.disableMetadata=true)
  vmagents=$((${vmagents:-0} + 1))
  timeout "$6" "$peers/vmagent-$5" -promscrape.config="$tmp/$1-$4.yml" -promscrape.cluster.name="$4" \
    -remoteWrite.url="http://127.0.0.1:$port/api/v1/write" -remoteWrite.tmpDataPath="$tmp/$1-$4.queue" \
    -httpListenAddr="127.0.0.1:$((24500 + vmagents))" "${flags[@]}" >"$tmp/$1-$4.log" 2>&1 &
}

"$peers/node_exporter-1.12.1" --web.listen-address=127.0.0.1:24900 >"$tmp/node_exporter.log" 2>&1 &
# The same, but that each fifth scrape fails.
python3 - >"$tmp/failing.log" 2>&1 <<'PYTHON' &
import http.server, itertools, urllib.request
scrapes = itertools.count(1)
class Failing(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        fails = next(scrapes) % 5 == 0
        page = b"" if fails else urllib.request.urlopen("http://127.0.0.1:24900/metrics").read()
        self.send_response(503 if fails else 200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(page)
http.server.ThreadingHTTPServer(("127.0.0.1", 24901), Failing).serve_forever()
PYTHON
sleep 1

prometheus prometheus-60s 60s 16m
prometheus prometheus-15s 15s 5m
prometheus prometheus-90s 90s 18m
prometheus prometheus-2m 2m 20m
record vmagents-5s 4m
vmagent vmagents-5s 5s "$few" a 1.150.0 120
vmagent vmagents-5s 5s "$few" b 1.150.0 240
record vmagents-60s 20m
vmagent vmagents-60s 60s "$all" a 1.150.0 590
vmagent vmagents-60s 60s "$all" b 1.150.0 1200
record vmagent-60s-failing 17m
vmagent vmagent-60s-failing 60s "$all" '' 1.150.0 1020 127.0.0.1:24901
record vmagent-1.79-60s 12m
vmagent vmagent-1.79-60s 60s "$all" '' 1.79 720

echo "recording until $(date -d '+21 minutes' +%H:%M)"
sleep 1250
mkdir -p "$out"
for name in prometheus-60s prometheus-15s prometheus-90s prometheus-2m vmagents-5s vmagents-60s vmagent-60s-failing vmagent-1.79-60s; do
  rm -f "$out/$name.zip"
  python3 -c 'import shutil, sys; shutil.make_archive(sys.argv[1], "zip", sys.argv[2])' "$out/$name" "$tmp/$name"
  ls -l "$out/$name.zip"
done
