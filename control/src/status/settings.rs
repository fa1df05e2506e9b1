//! What a Service asks for and does not get as asked: wrong annotations, ports that are not balanced.

use super::service::condition;
use super::{Condition, SETTINGS_VALID};
use crate::model::{PortProtocol, PortSpec, ServiceSpec};
use crate::problem::{Problem, Severity};

/// At most this many complaints are named in the message, each with at most so many characters: values are the
/// user's, and a condition has room for 32768 bytes.
const NAMED: usize = 8;
const LONGEST: usize = 600;

/// Holds nothing but what the Service itself says, so it is written when that changes.
pub(super) fn settings(spec: &ServiceSpec) -> Condition {
    let problems = spec.setting_problems().chain(&spec.problems);
    let wrong: Vec<String> = problems
        .filter(|problem| problem.severity != Severity::Note)
        .map(complaint)
        .collect();
    let ports: Vec<String> = spec.ports.iter().filter_map(unsupported).collect();
    let reason = match (wrong.is_empty(), ports.is_empty()) {
        (true, true) => {
            return condition(
                SETTINGS_VALID,
                true,
                "SettingsValid",
                "everything it asks for can be done",
            );
        }
        (false, _) => "InvalidSettings",
        (true, false) => "UnsupportedProtocol",
    };
    let mut said: Vec<String> = wrong.into_iter().chain(ports).collect();
    said.sort_unstable();
    said.dedup();
    let more = said.len().saturating_sub(NAMED);
    said.truncate(NAMED);
    if more > 0 {
        said.push(format!("and {more} more"));
    }
    condition(SETTINGS_VALID, false, reason, said.join(". "))
}

/// `metadata.annotations[KEY]: VALUE is wrong; what to do`
fn complaint(problem: &Problem) -> String {
    let plain = Problem {
        object: None,
        place: String::new(),
        ..problem.clone()
    };
    let text = plain.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn unsupported(port: &PortSpec) -> Option<String> {
    match &port.protocol {
        PortProtocol::Balanced(_) => None,
        PortProtocol::Unsupported(name) => Some(format!(
            "port {} is {name}, which is not balanced; use TCP or UDP, or reach it without Maglane",
            port.port
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Setting;
    use crate::status::Truth;
    use crate::testing::{port, service};

    fn wrong(key: &str, value: &str) -> Problem {
        Problem::warning(format!("{value:?} is not known"), "use nat")
            .field(format!("metadata.annotations[{key}]"))
            .at("kubernetes")
    }

    #[test]
    fn each_wrong_annotation_is_named_with_its_value_and_what_to_do() {
        let mut spec = service("web", "192.0.2.1").build();
        assert_eq!(settings(&spec).status, Truth::True);
        spec.ports.push(port("x", "SCTP", 36_412));
        let said = settings(&spec);
        assert_eq!(
            (said.status, &*said.reason),
            (Truth::False, "UnsupportedProtocol")
        );
        assert_eq!(
            &*said.message,
            "port 36412 is SCTP, which is not balanced; use TCP or UDP, or reach it without Maglane"
        );
        spec.mode = Setting::Invalid {
            problem: wrong("maglane.io/forwarding-mode", "nut"),
            last_good: None,
        };
        spec.problems = vec![wrong("maglane.io/mod", "x"), Problem::note("fine", "nothing")];
        let said = settings(&spec);
        assert_eq!((said.status, &*said.reason), (Truth::False, "InvalidSettings"));
        assert_eq!(
            &*said.message,
            "metadata.annotations[maglane.io/forwarding-mode]: \"nut\" is not known; use nat. \
             metadata.annotations[maglane.io/mod]: \"x\" is not known; use nat. \
             port 36412 is SCTP, which is not balanced; use TCP or UDP, or reach it without Maglane"
        );
    }

    #[test]
    fn however_much_is_wrong_the_message_stays_short() {
        let mut spec = service("web", "192.0.2.1").build();
        let long = "\u{e9}".repeat(100_000);
        spec.problems = (0..50)
            .map(|n| wrong(&format!("maglane.io/{n:02}"), &long))
            .collect();
        let said = settings(&spec);
        assert!(
            said.message.len() < 16_000 && said.message.ends_with("and 42 more"),
            "{}",
            said.message.len()
        );
    }
}
