#!/usr/bin/env bash
# Packets and bytes a second of an interface, once a second, from its hardware counters where it has them.
#   pktgen/count.sh INTERFACE [SECONDS]
set -euo pipefail
interface=${1:?usage: count.sh INTERFACE [SECONDS]} seconds=${2:-10}
read_counter() { cat "/sys/class/net/$interface/statistics/$1"; }
names=(rx_packets rx_bytes rx_dropped rx_missed_errors tx_packets tx_bytes tx_dropped)
declare -A before
for name in "${names[@]}"; do before[$name]=$(read_counter "$name"); done
for ((second = 1; second <= seconds; second++)); do
    sleep 1
    line="$second s"
    for name in "${names[@]}"; do
        now=$(read_counter "$name")
        line+="  $name $((now - before[$name]))"
        before[$name]=$now
    done
    echo "$line"
done
