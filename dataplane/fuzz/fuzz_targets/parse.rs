#![no_main]

use maglane_dataplane_fuzz::bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::any_frame_parses_or_is_refused(data));
