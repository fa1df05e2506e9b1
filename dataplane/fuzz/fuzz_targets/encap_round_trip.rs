#![no_main]

use maglane_dataplane_fuzz::bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::what_goes_into_a_tunnel_is_in_it(data));
