// SPDX-License-Identifier: Apache-2.0
// The generator and the sink of the bench, both in the kernel so that they cost less than what they measure.
//
// `blast` runs under BPF_PROG_RUN with live frames: it writes a header into each page and redirects it out of an
// interface. Pages come back as the device under test left them, so the whole header is written every time.
// `sink` counts and drops what a flow may look like (TCP, UDP, IPIP) and passes everything else (ARP, ND, ICMP).

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define HEADER 80
#define PACED 64
#define UNPACED 1024

// Spelled alike in src/traffic/live.rs.
struct blast {
	__u8 header[HEADER];
	__u32 kind; // header length: 42 UDP4, 54 TCP4, 62 UDP6, 74 TCP6
	__u32 flows;
	__u32 interface;
	__u32 budget;	// packets until the clock is read again
	__u64 duration; // ns
	__u64 rate;	// packets a second, 0: no limit
	__u64 packets;	// in all, 0: no limit
	__u64 start;	// ns, set by the first packet
	__u64 sent;
	__u64 over;	// 1 when a limit is met
	__u64 forgiven; // packets that came due while we were kept from sending
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct blast);
} blasts SEC(".maps");

// 0: packets, 1: bytes
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} sunk SEC(".maps");

static __always_inline __u16 get(const __u8 *p)
{
	return (__u16)(p[0] << 8 | p[1]);
}

static __always_inline void put(__u8 *p, __u16 value)
{
	p[0] = value >> 8;
	p[1] = value;
}

// RFC 1624, equation 3.
static __always_inline __u16 fixed(__u16 sum, __u16 old, __u16 new)
{
	__u32 s = (__u16)~sum + (__u32)(__u16)~old + new;
	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s;
}

// Flow f has the last 16 bits of the source address plus f >> 14 and the source port plus f & 0x3fff.
static __always_inline int fill(__u8 *data, __u8 *end, const struct blast *b, __u32 flow, const int length,
				const int address, const int port, const int ip_sum, const int sum)
{
	if (data + length > end)
		return -1;
	__builtin_memcpy(data, b->header, length);
	__u16 old_a = get(data + address), new_a = old_a + (__u16)(flow >> 14);
	__u16 old_p = get(data + port), new_p = old_p + (__u16)(flow & 0x3fff);
	put(data + address, new_a);
	put(data + port, new_p);
	if (ip_sum)
		put(data + ip_sum, fixed(get(data + ip_sum), old_a, new_a));
	put(data + sum, fixed(fixed(get(data + sum), old_a, new_a), old_p, new_p));
	return 0;
}

// Packets that may go now. Pacing is done here because one BPF_PROG_RUN costs milliseconds to begin.
static __always_inline __u32 due(struct blast *b)
{
	__u64 now = bpf_ktime_get_ns(), budget = UNPACED;
	if (!b->start)
		b->start = now;
	if (now - b->start >= b->duration || (b->packets && b->sent >= b->packets)) {
		b->over = 1;
		return 0;
	}
	if (b->rate) {
		__u64 owed = (now - b->start) * b->rate / 1000000000 - b->forgiven;
		budget = owed > b->sent ? owed - b->sent : 0;
		if (budget > PACED) {
			// Catching up after a lost core would be a burst at full speed, and its losses our fault.
			b->forgiven += budget - PACED;
			budget = PACED;
		}
	}
	if (b->packets && budget > b->packets - b->sent)
		budget = b->packets - b->sent;
	return budget;
}

SEC("xdp")
int blast(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;
	__u32 zero = 0;
	struct blast *b = bpf_map_lookup_elem(&blasts, &zero);
	if (!b || !b->flows)
		return XDP_ABORTED;
	if (!b->budget)
		b->budget = due(b);
	if (!b->budget)
		return XDP_DROP;
	b->budget--;
	// Knuth's multiplier: consecutive packets are of flows far apart, as caches meet them in life.
	__u32 flow = (__u32)b->sent++ * 2654435761u % b->flows;
	int bad = -1;
	switch (b->kind) {
	case 42: bad = fill(data, end, b, flow, 42, 28, 34, 24, 40); break;
	case 54: bad = fill(data, end, b, flow, 54, 28, 34, 24, 50); break;
	case 62: bad = fill(data, end, b, flow, 62, 36, 54, 0, 60); break;
	case 74: bad = fill(data, end, b, flow, 74, 36, 54, 0, 70); break;
	}
	return bad ? XDP_ABORTED : bpf_redirect(b->interface, 0);
}

static __always_inline int is_flow(__u8 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_IPIP ||
	       protocol == IPPROTO_IPV6;
}

SEC("xdp")
int sink(struct xdp_md *ctx)
{
	__u8 *data = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;
	if (data + 34 > end)
		return XDP_PASS;
	__u16 type = get(data + 12);
	__u8 protocol = type == ETH_P_IP ? data[23] : type == ETH_P_IPV6 ? data[20] : 0;
	if (!is_flow(protocol))
		return XDP_PASS;
	__u32 packets = 0, bytes = 1;
	__u64 *n = bpf_map_lookup_elem(&sunk, &packets), *b = bpf_map_lookup_elem(&sunk, &bytes);
	if (n && b) {
		*n += 1;
		*b += end - data;
	}
	return XDP_DROP;
}

char _license[] SEC("license") = "Apache-2.0";
