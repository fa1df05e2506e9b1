//! The objects as bytes for the disk, and back: a header line with version, length and checksum, then one JSON
//! event a line. Whatever is wrong with the bytes, nothing of them is used (FAILURES P3).

use std::fmt::Write as _;

use crate::event::Event;
use crate::store::Store;

/// Grows when an older reader would misread; N-1 stays readable.
const VERSION: u32 = 1;
const MAGIC: &str = "maglane-state";

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("is no saved state of Maglane")]
    Foreign,
    #[error("was written by version {0} of the format, this one reads up to {VERSION}")]
    Newer(u32),
    #[error("is cut short or longer than it says")]
    Length,
    #[error("is damaged: its checksum differs")]
    Checksum,
    #[error("holds something unreadable: {0}")]
    Content(String),
}

/// The whole store as bytes.
pub fn encode(store: &Store) -> Vec<u8> {
    let mut body = Vec::new();
    for event in store.events() {
        // Only maps with keys that are no text could fail, and there are none.
        if serde_json::to_writer(&mut body, &event).is_ok() {
            body.push(b'\n');
        }
    }
    let mut header = String::new();
    let _ = writeln!(
        header,
        "{MAGIC} {VERSION} {} {:08x}",
        body.len(),
        crc32fast::hash(&body)
    );
    let mut bytes = header.into_bytes();
    bytes.append(&mut body);
    bytes
}

/// The events that make the store again.
pub fn decode(bytes: &[u8]) -> Result<Vec<Event>, SnapshotError> {
    let end = bytes
        .iter()
        .position(|b| *b == b'\n')
        .ok_or(SnapshotError::Foreign)?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| SnapshotError::Foreign)?;
    let parts: Vec<&str> = header.split(' ').collect();
    let [MAGIC, version, length, checksum] = parts[..] else {
        return Err(SnapshotError::Foreign);
    };
    let number = |text: &str| text.parse::<u32>().map_err(|_| SnapshotError::Foreign);
    match number(version)? {
        1..=VERSION => {}
        newer => return Err(SnapshotError::Newer(newer)),
    }
    let body = &bytes[end + 1..];
    if length.parse() != Ok(body.len()) {
        return Err(SnapshotError::Length);
    }
    if u32::from_str_radix(checksum, 16) != Ok(crc32fast::hash(body)) {
        return Err(SnapshotError::Checksum);
    }
    let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let read = |line| serde_json::from_slice(line).map_err(|error| SnapshotError::Content(error.to_string()));
    lines.map(read).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{endpoint, service, slice};

    fn store() -> Store {
        let mut store = Store::default();
        let _ = store.apply_service(service("web", "192.0.2.1,2001:db8::1").build());
        let _ = store.apply_slice(slice(
            "web-1",
            "web",
            vec![endpoint("10.0.0.1"), endpoint("10.0.0.2")],
        ));
        store
    }

    #[test]
    fn what_was_written_is_read() {
        let events = decode(&encode(&store())).unwrap();
        assert_eq!(events, store().events().collect::<Vec<_>>());
        assert_eq!(events.len(), 2);
        assert_eq!(decode(&encode(&Store::default())), Ok(vec![]));
    }

    #[test]
    fn each_kind_of_damage_has_its_name() {
        let good = encode(&store());
        let text = String::from_utf8(good.clone()).unwrap();
        assert_eq!(decode(b""), Err(SnapshotError::Foreign));
        assert_eq!(decode(b"hello\n"), Err(SnapshotError::Foreign));
        assert_eq!(decode(&good[..good.len() - 1]), Err(SnapshotError::Length));
        let newer = text.replacen("maglane-state 1", "maglane-state 7", 1);
        assert_eq!(decode(newer.as_bytes()), Err(SnapshotError::Newer(7)));
        let flipped = text.replacen("192.0.2.1", "192.0.2.7", 1);
        assert_eq!(decode(flipped.as_bytes()), Err(SnapshotError::Checksum));
    }

    proptest! {
        /// A damaged file is never believed.
        #[test]
        fn no_flipped_bit_goes_unseen(at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut bytes = encode(&store());
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // The checksum's own digits may change case, which says the same.
            prop_assert!(decode(&bytes).is_err() || decode(&bytes) == decode(&encode(&store())));
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
        }
    }
}
