//! `/bytes/N`: the same bytes from every backend, so that a checksum of a download is comparable.

use std::sync::LazyLock;

use bytes::Bytes;

/// A block length that no power-of-two buffer divides: a shifted or repeated buffer changes the sum.
const BLOCK: usize = 251 * 1021;

static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(BLOCK).collect()
});

/// The body of `/bytes/len` in chunks that share one allocation.
pub fn chunks(len: u64) -> impl Iterator<Item = Bytes> + Send {
    let mut left = len;
    std::iter::from_fn(move || {
        let take = left.min(BLOCK as u64);
        left -= take;
        (take > 0).then(|| PATTERN.slice(..usize::try_from(take).unwrap_or(BLOCK)))
    })
}

/// The whole body of `/bytes/len`, to compare a download with.
#[must_use]
pub fn body(len: u64) -> Vec<u8> {
    chunks(len).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_exact_and_prefixes_agree() {
        let long = body(BLOCK as u64 * 2 + 17);
        assert_eq!(long.len(), BLOCK * 2 + 17);
        assert_eq!(body(1000), long[..1000]);
        assert!(body(0).is_empty());
    }
}
