// SPDX-License-Identifier: Apache-2.0
/*
 * The steering program: is this packet for a VIP, or a return of our NAT? Then this queue's AF_XDP socket, else the kernel.
 *
 *   to:   destination in `vips`                                    -> socket   (fragments too: an address is enough)
 *         destination (address, port, protocol) in `endpoints`     -> socket   (also as the source inside an ICMP error)
 *         destination in `nat_returns` and port in its range       -> socket   (also as the source inside an ICMP error)
 *   from: source (address, port, protocol) in `dnat_returns`
 *         and destination not in `local`                           -> socket   (also as the destination inside an ICMP error)
 *   ARP:  request for an address in `owned`, or anything from one   -> socket
 *   ND:   solicitation or advertisement of an address in `owned`   -> socket
 *   else XDP_PASS; and XDP_PASS where a queue has no socket, so that our absence costs nobody a packet.
 *
 * A later fragment to a NAT address or that of an endpoint carries no port. It is passed and counted: redirecting it would
 * take the node's own fragmented traffic (the address is usually the node's), and touching nothing foreign is the stronger
 * promise.
 *
 * `filter` says in one array look-up that an address is in no map, which is what most packets of a node are told.
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d. Maps are filled by dataplane/xsk/src/steer; layouts there must match.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define inline_ static __always_inline
#define VLAN_TAGS 2
#define EXTENSION_HEADERS 6
/* More than Ethernet, VLAN, IPv6 and as many extension headers can take. */
#define MAX_OFFSET 16383
#define FILTER_BITS 65536

struct address {
	__u64 high, low; /* network order bytes, loaded as they lie */
};

struct port_range {
	__u16 first, last; /* host order, inclusive */
};

struct endpoint {
	struct address address;
	__be16 port;
	__u8 protocol, pad;
	__u32 pad2;
};

/* One bit an address hash; `any_*` are zero while the maps behind them are empty. Endpoints are in `to` as well. */
struct filter {
	__u32 any_to, any_from, any_endpoints, any_owned;
	__u8 to[FILTER_BITS / 8];
	__u8 from[FILTER_BITS / 8];
};

enum counter {
	REDIRECTED,
	PASSED,
	PASSED_NO_SOCKET,
	PASSED_FRAGMENT,
	COUNTERS,
};

/* Limits are defaults; the loader may set others. */
#define HASH(name, key_type, value_type, limit)           \
	struct {                                          \
		__uint(type, BPF_MAP_TYPE_HASH);          \
		__uint(map_flags, BPF_F_NO_PREALLOC);     \
		__uint(max_entries, limit);               \
		__type(key, key_type);                    \
		__type(value, value_type);                \
	} name SEC(".maps")

HASH(vips, struct address, __u32, 65536);
HASH(endpoints, struct endpoint, __u32, 65536);
HASH(nat_returns, struct address, struct port_range, 1024);
HASH(dnat_returns, struct endpoint, __u32, 262144);
HASH(local, struct address, __u32, 4096);
/* Addresses this node answers for on this interface. */
HASH(owned, struct address, __u32, 65536);

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct filter);
} filter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/* How far it has been read, and what was learned of it. */
struct packet {
	struct xdp_md *ctx;
	__u32 at;
	struct address source, destination;
	__be16 source_port, destination_port;
	__u8 protocol;
	__u8 fragment; /* a later one: no transport header */
};

inline_ int count(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &which);

	if (value)
		(*value)++;
	return XDP_PASS;
}

inline_ int redirect(struct xdp_md *ctx)
{
	int action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);

	count(action == XDP_REDIRECT ? REDIRECTED : PASSED_NO_SOCKET);
	return action;
}

/* The same function is in dataplane/xsk/src/steer/filter.rs. */
inline_ int may_contain(const __u8 *bits, const struct address *a)
{
	__u64 hash = (a->high * 0x9e3779b97f4a7c15ULL) ^ (a->low * 0xc2b2ae3d27d4eb4fULL);

	hash = (hash ^ (hash >> 29)) * 0xbf58476d1ce4e5b9ULL;
	hash >>= 48;
	return bits[(hash / 8) & (FILTER_BITS / 8 - 1)] & (1 << (hash & 7));
}

inline_ struct address mapped(__be32 address)
{
	struct address a = { .high = 0, .low = ((__u64)address << 32) | bpf_htonl(0xffff) };

	return a;
}

/* The next `size` bytes; 0 if they are not there. */
inline_ void *take(struct packet *p, __u32 size)
{
	void *header;

	if (p->at > MAX_OFFSET)
		return 0;
	header = (void *)(long)p->ctx->data + p->at;
	if (header + size > (void *)(long)p->ctx->data_end)
		return 0;
	p->at += size;
	return header;
}

struct ipv4_header {
	__u8 version_ihl, tos;
	__be16 length, id, fragment;
	__u8 ttl, protocol;
	__be16 checksum;
	__be32 source, destination;
};

struct ipv6_header {
	__be32 version_class_flow;
	__be16 payload;
	__u8 next, hops;
	struct address source, destination;
} __attribute__((packed, aligned(4)));

struct ports {
	__be16 source, destination;
};

struct icmp_header {
	__u8 type, code;
	__be16 checksum;
	__u32 rest;
};

inline_ int parse_ipv4(struct packet *p)
{
	struct ipv4_header *ip = take(p, sizeof(*ip));
	__u32 options;

	if (!ip || ip->version_ihl >> 4 != 4 || (ip->version_ihl & 15) < 5)
		return 0;
	options = ((ip->version_ihl & 15) - 5) * 4;
	p->source = mapped(ip->source);
	p->destination = mapped(ip->destination);
	p->protocol = ip->protocol;
	p->fragment = !!(ip->fragment & bpf_htons(0x1fff));
	/* Options beyond the end leave the addresses valid and no ports. */
	if (!take(p, options))
		p->protocol = IPPROTO_NONE;
	return 1;
}

inline_ void copy_address(struct address *to, const void *from)
{
	__builtin_memcpy(to, from, sizeof(*to));
}

/* What lies behind the extension headers: offset << 16 | protocol << 8 | a later fragment. Neither static nor inlined: such a
 * function the verifier walks once, not once for every way to it, of which there would be a million. */
__attribute__((noinline)) __u32 skip_extensions(struct xdp_md *ctx, __u32 at, __u32 protocol)
{
	struct packet p = { .ctx = ctx, .at = at, .protocol = protocol };
	int i;

#pragma unroll
	for (i = 0; i < EXTENSION_HEADERS; i++) {
		__u32 size, start = p.at;
		__u8 *extension;

		if (p.protocol != IPPROTO_HOPOPTS && p.protocol != IPPROTO_ROUTING && p.protocol != IPPROTO_DSTOPTS &&
		    p.protocol != IPPROTO_FRAGMENT && p.protocol != IPPROTO_AH)
			break;
		extension = take(&p, 8);
		if (!extension)
			break;
		size = (extension[1] + 1) * 8;
		if (p.protocol == IPPROTO_AH)
			size = (extension[1] + 2) * 4;
		if (p.protocol == IPPROTO_FRAGMENT) {
			size = 8;
			p.fragment = (extension[2] | (extension[3] & 0xf8)) != 0;
		}
		p.protocol = extension[0];
		if (p.fragment)
			break;
		p.at = start;
		if (!take(&p, size))
			p.protocol = IPPROTO_NONE;
	}
	return p.at << 16 | p.protocol << 8 | p.fragment;
}

inline_ int parse_ipv6(struct packet *p)
{
	struct ipv6_header *ip = take(p, sizeof(*ip));
	__u32 behind;

	if (!ip || (*(__u8 *)ip) >> 4 != 6)
		return 0;
	copy_address(&p->source, &ip->source);
	copy_address(&p->destination, &ip->destination);
	behind = skip_extensions(p->ctx, p->at, ip->next);
	p->at = behind >> 16;
	p->protocol = behind >> 8;
	p->fragment = behind;
	return 1;
}

inline_ int parse_ip(struct packet *p, __be16 ethertype)
{
	if (ethertype == bpf_htons(ETH_P_IP))
		return parse_ipv4(p);
	if (ethertype == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(p);
	return 0;
}

/* Ports of TCP and UDP; 0 if there are none. */
inline_ int parse_ports(struct packet *p)
{
	struct ports *ports;

	if (p->fragment || (p->protocol != IPPROTO_TCP && p->protocol != IPPROTO_UDP))
		return 0;
	ports = take(p, sizeof(*ports));
	if (!ports)
		return 0;
	p->source_port = ports->source;
	p->destination_port = ports->destination;
	return 1;
}

inline_ __be16 parse_ethernet(struct packet *p)
{
	struct ethhdr *ethernet = take(p, sizeof(*ethernet));
	__be16 ethertype;
	int i;

	if (!ethernet)
		return 0;
	ethertype = ethernet->h_proto;
#pragma unroll
	for (i = 0; i < VLAN_TAGS; i++) {
		__be16 *tag;

		if (ethertype != bpf_htons(ETH_P_8021Q) && ethertype != bpf_htons(ETH_P_8021AD))
			break;
		tag = take(p, 4);
		if (!tag)
			return 0;
		ethertype = tag[1];
	}
	return ethertype;
}

inline_ int is_icmp_error(struct packet *p, __be16 ethertype)
{
	struct icmp_header *icmp;

	if (p->fragment)
		return 0;
	if (ethertype == bpf_htons(ETH_P_IP) ? p->protocol != IPPROTO_ICMP : p->protocol != IPPROTO_ICMPV6)
		return 0;
	icmp = take(p, sizeof(*icmp));
	if (!icmp)
		return 0;
	if (ethertype == bpf_htons(ETH_P_IP)) /* unreachable, time exceeded, parameter problem */
		return icmp->type == 3 || icmp->type == 11 || icmp->type == 12;
	return icmp->type >= 1 && icmp->type <= 4;
}

inline_ int in_range(const struct port_range *range, __be16 port)
{
	__u16 host = bpf_ntohs(port);

	return host >= range->first && host <= range->last;
}

inline_ int is_endpoint(const struct address *address, __be16 port, __u8 protocol)
{
	struct endpoint key = { .address = *address, .port = port, .protocol = protocol };

	return bpf_map_lookup_elem(&endpoints, &key) != 0;
}

inline_ int same(const struct address *a, const struct address *b)
{
	return a->high == b->high && a->low == b->low;
}

inline_ int is_dnat_return(const struct address *address, __be16 port, __u8 protocol, const struct address *destination)
{
	struct endpoint key = { .address = *address, .port = port, .protocol = protocol };

	return bpf_map_lookup_elem(&dnat_returns, &key) && !bpf_map_lookup_elem(&local, destination);
}

/* Everything that needs more than the destination address. The filter said yes to one side at least; `to` = to the
 * destination, and there are endpoints. */
inline_ int is_ours(struct packet *p, __be16 ethertype, struct port_range *range, int to, int from, const struct filter *f)
{
	struct packet inner;

	if (parse_ports(p)) {
		if (range && in_range(range, p->destination_port))
			return 1;
		if (to && is_endpoint(&p->destination, p->destination_port, p->protocol))
			return 1;
		return from && is_dnat_return(&p->source, p->source_port, p->protocol, &p->destination);
	}
	if (!is_icmp_error(p, ethertype))
		return 0;
	inner.ctx = p->ctx;
	inner.at = p->at;
	if (!parse_ip(&inner, ethertype) || !parse_ports(&inner))
		return 0;
	/* The error is about a packet we sent: its source is the NAT port or an endpoint, or its destination the DNAT backend. */
	if (range && in_range(range, inner.source_port))
		return 1;
	if (to && same(&inner.source, &p->destination) &&
	    is_endpoint(&inner.source, inner.source_port, inner.protocol))
		return 1;
	return f->any_from &&
	       is_dnat_return(&inner.destination, inner.destination_port, inner.protocol, &p->destination);
}

inline_ int is_owned(const struct address *address)
{
	return bpf_map_lookup_elem(&owned, address) != 0;
}

/* RFC 826, for IPv4 over Ethernet. */
struct arp_packet {
	__be16 hardware, protocol;
	__u8 hardware_size, protocol_size;
	__be16 operation;
	__u8 sender_mac[6];
	__be16 sender[2];
	__u8 target_mac[6];
	__be16 target[2];
} __attribute__((packed, aligned(2)));

inline_ struct address halves(const __be16 *half)
{
	__be32 whole;

	__builtin_memcpy(&whole, half, sizeof(whole));
	return mapped(whole);
}

/* Who has an address of ours; or somebody says that he has. */
inline_ int is_our_arp(struct packet *p)
{
	struct arp_packet *arp = take(p, sizeof(*arp));
	struct address sender, target;

	if (!arp || arp->hardware != bpf_htons(1) || arp->protocol != bpf_htons(ETH_P_IP) || arp->hardware_size != 6 ||
	    arp->protocol_size != 4)
		return 0;
	sender = halves(arp->sender);
	target = halves(arp->target);
	return (arp->operation == bpf_htons(1) && is_owned(&target)) || is_owned(&sender);
}

/* RFC 4861 section 4.3, 4.4 */
struct neighbor_message {
	__u8 type, code;
	__be16 checksum;
	__u8 rest[4];
	struct address target;
} __attribute__((packed, aligned(2)));

/* A solicitation or an advertisement of an address of ours. A copy: the caller goes on reading where it was. */
inline_ int is_our_neighbor_message(struct packet p)
{
	struct neighbor_message *message = take(&p, sizeof(*message));
	struct address target;

	if (p.fragment || !message || (message->type != 135 && message->type != 136))
		return 0;
	copy_address(&target, &message->target);
	return is_owned(&target);
}

inline_ int steer(struct xdp_md *ctx)
{
	struct packet p = { .ctx = ctx };
	struct port_range *range = 0;
	const struct filter *f;
	__be16 ethertype;
	__u32 zero = 0;
	int to = 0, from, icmp;

	f = bpf_map_lookup_elem(&filter, &zero);
	if (!f || !(f->any_to | f->any_from | f->any_owned))
		return XDP_PASS;
	ethertype = parse_ethernet(&p);
	if (!parse_ip(&p, ethertype)) {
		if (ethertype == bpf_htons(ETH_P_ARP) && f->any_owned && is_our_arp(&p))
			return redirect(ctx);
		return count(PASSED);
	}

	if (may_contain(f->to, &p.destination)) {
		if (bpf_map_lookup_elem(&vips, &p.destination))
			return redirect(ctx);
		range = bpf_map_lookup_elem(&nat_returns, &p.destination);
		to = f->any_endpoints;
		if ((range || to) && p.fragment)
			return count(PASSED_FRAGMENT);
	}
	if (p.protocol == IPPROTO_ICMPV6 && f->any_owned && is_our_neighbor_message(p))
		return redirect(ctx);
	from = f->any_from && may_contain(f->from, &p.source);
	icmp = f->any_from && (p.protocol == IPPROTO_ICMP || p.protocol == IPPROTO_ICMPV6);
	if ((range || to || from || icmp) && is_ours(&p, ethertype, range, to, from, f))
		return redirect(ctx);
	return count(PASSED);
}

SEC("xdp")
int maglane_steer(struct xdp_md *ctx)
{
	return steer(ctx);
}

/* The same for an MTU beyond one buffer: headers are in the first, the rest is not looked at. */
SEC("xdp.frags")
int maglane_steer_f(struct xdp_md *ctx)
{
	return steer(ctx);
}

char LICENSE[] SEC("license") = "Apache-2.0";
