#![no_main]

use maglane_dataplane_fuzz::bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::any_frames_get_a_sane_verdict(data));
