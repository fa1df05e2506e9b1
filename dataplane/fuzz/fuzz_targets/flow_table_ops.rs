#![no_main]

use maglane_dataplane_fuzz::bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::any_operations_keep_the_flow_table_a_map(data));
