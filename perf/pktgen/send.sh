#!/usr/bin/env bash
# Sends UDP at line rate from a real NIC with the kernel's pktgen, one thread a core. Needs root, the module
# pktgen, and a NIC wired to the balancer's. Not for veth: use `maglane-rig blast` there.
#
#   pktgen/send.sh -i eth2 -m 02:00:00:00:00:11 -d 203.0.113.1 -t 4 -s 60 -f 65536 -n 0 -r 0
set -euo pipefail

usage() {
    cat >&2 <<'U'
send.sh -i INTERFACE -m MAC -d VIP [options]
  -i INTERFACE  to send through
  -m MAC        of the balancer's interface
  -d VIP        IPv4 or IPv6 address to send to
  -p PORT       destination port             (80)
  -c SOURCE     first source address, IPv4   (198.18.0.1, RFC 2544's range)
  -f FLOWS      source ports and addresses   (65536)
  -s SIZE       frame bytes without check sequence (60)
  -t THREADS    cores, from 0                (1)
  -n COUNT      packets a thread, 0 = until ctrl-C (10000000)
  -r RATE       packets a second a thread, 0 = as fast as possible (0)
U
    exit 2
}

interface='' mac='' vip='' port=80 source=198.18.0.1 flows=65536 size=60 threads=1 count=10000000 rate=0
while getopts i:m:d:p:c:f:s:t:n:r:h option; do
    case $option in
        i) interface=$OPTARG ;; m) mac=$OPTARG ;; d) vip=$OPTARG ;; p) port=$OPTARG ;; c) source=$OPTARG ;;
        f) flows=$OPTARG ;; s) size=$OPTARG ;; t) threads=$OPTARG ;; n) count=$OPTARG ;; r) rate=$OPTARG ;;
        *) usage ;;
    esac
done
[[ $interface && $mac && $vip ]] || usage
[[ $EUID -eq 0 ]] || { echo "pktgen needs root" >&2; exit 1; }
[[ -d /proc/net/pktgen ]] || modprobe pktgen || { echo "this kernel has no pktgen (CONFIG_NET_PKTGEN)" >&2; exit 1; }

put() { # file, line: pktgen reports refusals in the file itself
    echo "$2" > "/proc/net/pktgen/$1"
    grep -q '^Result: OK' "/proc/net/pktgen/$1" || { echo "pktgen refused \"$2\" in $1" >&2; exit 1; }
}

trap 'echo stop > /proc/net/pktgen/pgctrl' INT TERM
echo reset > /proc/net/pktgen/pgctrl
# 16,384 source ports, then the next source address.
addresses=$(((flows + 16383) / 16384))
IFS=. read -r a b c d <<< "$source"
last=$(((a << 24 | b << 16 | c << 8 | d) + addresses - 1))
last_source="$((last >> 24 & 255)).$((last >> 16 & 255)).$((last >> 8 & 255)).$((last & 255))"
for ((thread = 0; thread < threads; thread++)); do
    device="$interface@$thread"
    put "kpktgend_$thread" "rem_device_all"
    put "kpktgend_$thread" "add_device $device"
    put "$device" "flag QUEUE_MAP_CPU"
    put "$device" "flag UDPSRC_RND"
    put "$device" "flag UDPCSUM"
    put "$device" "burst 32"
    put "$device" "count $count"
    put "$device" "pkt_size $size"
    put "$device" "delay 0"
    [[ $rate -eq 0 ]] || put "$device" "ratep $rate"
    put "$device" "dst_mac $mac"
    if [[ $vip == *:* ]]; then
        put "$device" "dst6 $vip"
    else
        put "$device" "flag IPSRC_RND"
        put "$device" "dst_min $vip"
        put "$device" "dst_max $vip"
        put "$device" "src_min $source"
        put "$device" "src_max $last_source"
    fi
    put "$device" "udp_src_min 16384"
    put "$device" "udp_src_max $((16384 + (flows < 16384 ? flows : 16384) - 1))"
    put "$device" "udp_dst_min $port"
    put "$device" "udp_dst_max $port"
done
echo start > /proc/net/pktgen/pgctrl
for ((thread = 0; thread < threads; thread++)); do
    grep -E 'pps|errors' "/proc/net/pktgen/$interface@$thread"
done
