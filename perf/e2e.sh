#!/usr/bin/env bash
# Maglane against bare AF_XDP, the kernel and DPDK testpmd on one veth line, all in one run: 1 flow and 64k
# flows of 64-byte packets, then one flow of 1400 bytes. About 9 minutes; needs root and two idle cores.
# More: perf/README.md and `maglane-rig bench --help`. Arguments go to every run, e.g. --rounds 5.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $EUID -eq 0 ]] || { echo "e2e.sh needs root for namespaces and XDP: sudo perf/e2e.sh" >&2; exit 1; }
for tool in ip ethtool nft taskset chrt clang; do
    command -v "$tool" > /dev/null || { echo "missing $tool: apt-get install iproute2 ethtool nftables util-linux clang" >&2; exit 1; }
done
[[ -x /usr/bin/dpdk-testpmd ]] ||
    echo "no dpdk-testpmd: it will be left out (apt-get install dpdk-dev librte-net-af-xdp23)" >&2

cargo build --release --locked -p maglane -p maglane-perf --bins
rig=${CARGO_TARGET_DIR:-target}/release/maglane-rig

echo "$(uname -sr), $(nproc) cores, $(date -u +%F), load $(cut -d' ' -f1 /proc/loadavg)"
"$rig" bench --flows 1 "$@"
"$rig" bench --flows 65536 "$@"
"$rig" bench --flows 1 --size 1400 "$@"
