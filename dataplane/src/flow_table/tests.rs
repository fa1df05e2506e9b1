use super::*;

#[test]
fn an_entry_is_one_cache_line() {
    assert_eq!(align_of::<FlowEntry>(), 64);
}
