//! A flow's identity and its keyed hash.
//!
//! The hash is three folded 64x64->128-bit multiplications (wyhash's step) under an expanded 128-bit secret,
//! about 3 ns: no CPU feature decides its value, so every node of a fleet with the same `--hash-key` gets
//! the same answer, and without the key nobody can aim flows at one backend or one bucket. Changing it
//! changes which backend a flow hashes to on half-upgraded fleets: [`ALGORITHM`] names the version, frozen
//! vectors test it.

use serde::{Deserialize, Serialize};

use crate::addr::{Addr, Protocol};

/// Version of [`FlowKey::hash`] and the Maglev build; nodes must agree on it.
pub const ALGORITHM: u32 = 1;

/// A client's packet towards a VIP, before any rewriting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    pub client: Addr,
    pub vip: Addr,
    pub client_port: u16,
    pub vip_port: u16,
    pub protocol: Protocol,
}

/// 64 well-mixed bits; the upper half picks the Maglev row, the lower half the flow-table bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowHash(pub u64);

impl FlowHash {
    /// A number below `bound` from the upper 32 bits, without a division (Lemire's multiply-shift).
    #[inline]
    pub const fn scale(self, bound: u32) -> u32 {
        (((self.0 >> 32) * bound as u64) >> 32) as u32
    }

    #[inline]
    pub const fn low(self) -> u32 {
        self.0 as u32
    }
}

/// The secret of a fleet (`--hash-key`), expanded once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey {
    words: [u64; 5],
}

impl HashKey {
    /// From 128 secret bits. The same bits give the same hash on every node.
    pub const fn new(secret: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(secret);
        let (mut state, step) = (bits as u64, (bits >> 64) as u64 | 1);
        let mut words = [0; 5];
        let mut i = 0;
        while i < words.len() {
            state = split_mix(state.wrapping_add(step).wrapping_add(i as u64));
            words[i] = state;
            i += 1;
        }
        HashKey { words }
    }

    /// Hash of arbitrary bytes under the key, for stable backend identities and Lease-free ranking.
    pub fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        let mut h = self.words[0] ^ bytes.len() as u64;
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            h = fold(
                h ^ u64::from_le_bytes(word) ^ self.words[1],
                self.words[2] ^ h.rotate_left(32),
            );
        }
        fold(h ^ self.words[3], self.words[4])
    }
}

impl Default for HashKey {
    /// The well-known key of a single node; a fleet that faces hostile clients sets its own.
    fn default() -> Self {
        HashKey::new(*b"maglane default!")
    }
}

/// Which fields of a packet pick its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HashInputs {
    /// Client address and port, VIP, port and protocol.
    #[default]
    FiveTuple,
    /// Client address and VIP only: `sessionAffinity: ClientIP`, and VIPs that receive fragments.
    ClientAddress,
}

impl FlowKey {
    #[inline]
    pub fn hash(&self, key: &HashKey) -> FlowHash {
        let ports =
            (self.client_port as u64) << 32 | (self.vip_port as u64) << 16 | self.protocol as u8 as u64;
        mix(key, self.client, self.vip, ports)
    }

    /// The hash that picks a backend under `inputs`; `full` is [`Self::hash`], already at hand.
    #[inline]
    pub fn selection_hash(&self, key: &HashKey, inputs: HashInputs, full: FlowHash) -> FlowHash {
        match inputs {
            HashInputs::FiveTuple => full,
            HashInputs::ClientAddress => mix(key, self.client, self.vip, 0),
        }
    }
}

/// The client's address, which an attacker chooses, is multiplied on its own first. VIPs are ours: two of
/// them can only meet in the exclusive or if we number them so.
#[inline]
fn mix(key: &HashKey, client: Addr, vip: Addr, ports: u64) -> FlowHash {
    let [k0, k1, k2, k3, k4] = key.words;
    let (c, v) = (client.bits(), vip.bits());
    let client = fold((c >> 64) as u64 ^ k0, c as u64 ^ k1);
    let vip = ((v >> 64) as u64).rotate_left(32) ^ v as u64;
    let joined = fold(client ^ ports ^ k2, vip ^ ports.rotate_left(32) ^ k3);
    FlowHash(fold(joined ^ k4, client ^ k0))
}

#[inline]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014).
const fn split_mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
