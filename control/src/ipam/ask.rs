//! What a Service asks for in its annotations: ours, MetalLB's and Cilium's, all of which mean the same.
//!
//! Ours count before MetalLB's before Cilium's, a vendor's present spelling before its old one. Two that
//! differ are a warning; only an address wish that cannot be read stops the Service from getting something.

use std::collections::BTreeMap;

use maglane_shared::addr::Addr;

use super::request::{Asked, Disruption, Namespaces, Sharing};
use crate::convert::vip;
use crate::problem::Problem;

const ADDRESSES: [&str; 5] = [
    "maglane.io/addresses",
    "metallb.io/loadBalancerIPs",
    "metallb.universe.tf/loadBalancerIPs",
    "lbipam.cilium.io/ips",
    "io.cilium/lb-ipam-ips",
];
const POOL: [&str; 3] = [
    "maglane.io/address-pool",
    "metallb.io/address-pool",
    "metallb.universe.tf/address-pool",
];
const SHARING_KEY: [&str; 5] = [
    "maglane.io/sharing-key",
    "metallb.io/allow-shared-ip",
    "metallb.universe.tf/allow-shared-ip",
    "lbipam.cilium.io/sharing-key",
    "io.cilium/lb-ipam-sharing-key",
];
const SHARING_NAMESPACES: [&str; 3] = [
    "maglane.io/sharing-cross-namespace",
    "lbipam.cilium.io/sharing-cross-namespace",
    "io.cilium/lb-ipam-sharing-cross-namespace",
];
const SHARING_DIFFERENT_PODS: [&str; 3] = [
    "maglane.io/sharing-permit-different-pods",
    "lbipam.cilium.io/sharing-permit-different-pods",
    "io.cilium/lb-ipam-sharing-permit-different-pods",
];
/// MetalLB's own note about the addresses in the status.
const FROM_POOL: [&str; 2] = [
    "metallb.io/ip-allocated-from-pool",
    "metallb.universe.tf/ip-allocated-from-pool",
];
pub(crate) const ALLOW_DISRUPTION: &str = "maglane.io/allow-disruption";
const LOAD_BALANCER_IP: &str = "spec.loadBalancerIP";

/// Every annotation under our own prefix that is read here.
pub const KNOWN: [&str; 6] = [
    ADDRESSES[0],
    POOL[0],
    SHARING_KEY[0],
    SHARING_NAMESPACES[0],
    SHARING_DIFFERENT_PODS[0],
    ALLOW_DISRUPTION,
];

/// The parts of a [`super::Request`] that annotations give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    pub asked: Asked,
    pub pool: Option<Box<str>>,
    pub sharing: Option<Sharing>,
    pub disruption: Disruption,
    /// For [`super::Held::pool`].
    pub from_pool: Option<Box<str>>,
    /// What is wrong, by field; without the object.
    pub problems: Vec<Problem>,
}

/// Reads a Service's annotations and `spec.loadBalancerIP`.
pub fn ask(annotations: &BTreeMap<String, String>, load_balancer_ip: Option<&str>) -> Ask {
    let mut reader = Reader {
        annotations,
        problems: vec![],
    };
    Ask {
        asked: reader.asked(load_balancer_ip.map(str::trim).filter(|text| !text.is_empty())),
        pool: reader.text(&POOL).map(|(_, text)| text.into()),
        sharing: reader.sharing(),
        disruption: reader.disruption(),
        from_pool: reader.text(&FROM_POOL).map(|(_, text)| text.into()),
        problems: reader.problems,
    }
}

/// Whether an object lets addresses go; for objects that are no Services.
pub(crate) fn disruption(annotations: Option<&BTreeMap<String, String>>) -> (Disruption, Vec<Problem>) {
    let none = BTreeMap::new();
    let mut reader = Reader {
        annotations: annotations.unwrap_or(&none),
        problems: vec![],
    };
    (reader.disruption(), reader.problems)
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// The first of these annotations that says something. Others must say the same.
    fn text(&mut self, keys: &[&'static str]) -> Option<(&'static str, &'a str)> {
        let said = |key: &&'static str| {
            let text = self.annotations.get(*key)?.trim();
            (!text.is_empty()).then_some((*key, text))
        };
        let mut all = keys.iter().filter_map(said);
        let (first, counts) = all.next()?;
        let others = all.filter(|(_, text)| *text != counts).map(|(key, text)| {
            let message = format!("{text:?} does not count: {first} says {counts:?}");
            at(key, Problem::warning(message, "remove one of the two"))
        });
        self.problems.extend(others.collect::<Vec<_>>());
        Some((first, counts))
    }

    fn asked(&mut self, load_balancer_ip: Option<&str>) -> Asked {
        let annotation = self.text(&ADDRESSES);
        let (field, text) = match (annotation, load_balancer_ip) {
            (None, None) => return Asked::Nothing,
            (Some((key, text)), None) => (in_annotations(key), text),
            (None, Some(text)) => (LOAD_BALANCER_IP.to_owned(), text),
            (Some((key, text)), Some(ip)) if addresses(text) == addresses(ip) => (in_annotations(key), text),
            (Some((key, text)), Some(ip)) => {
                let message = format!("{ip:?} contradicts the annotation {key}, which says {text:?}");
                return self.refuse(LOAD_BALANCER_IP.to_owned(), message, "remove one of the two");
            }
        };
        match addresses(text) {
            Ok(list) => Asked::Addresses(list),
            Err(error) => {
                let (message, remedy) = error.split_once("; ").unwrap_or((&error, "correct it"));
                self.refuse(field, format!("{text:?} {message}"), remedy)
            }
        }
    }

    fn refuse(&mut self, field: String, message: String, remedy: &str) -> Asked {
        let detail = format!("{field}: {message}; {remedy}");
        let remedy = format!("{remedy}; until then the Service keeps what it has and gets nothing");
        self.problems.push(Problem::error(message, remedy).field(field));
        Asked::Invalid(detail.into())
    }

    fn sharing(&mut self) -> Option<Sharing> {
        let namespaces = self.text(&SHARING_NAMESPACES);
        let different_pods = self.flag(&SHARING_DIFFERENT_PODS);
        let Some((_, key)) = self.text(&SHARING_KEY) else {
            if let Some((key, _)) = namespaces {
                let remedy = format!("add {}, or remove it", SHARING_KEY[0]);
                self.problems.push(at(
                    key,
                    Problem::warning("means nothing without a sharing key", remedy),
                ));
            }
            return None;
        };
        let named = |text: &str| match text {
            "*" => Namespaces::All,
            names => Namespaces::Named(list(names).map(Box::from).collect()),
        };
        Some(Sharing {
            key: key.into(),
            namespaces: namespaces.map_or(Namespaces::None, |(_, text)| named(text)),
            different_pods,
        })
    }

    fn disruption(&mut self) -> Disruption {
        match self.flag(&[ALLOW_DISRUPTION]) {
            true => Disruption::Allowed,
            false => Disruption::Refused,
        }
    }

    fn flag(&mut self, keys: &[&'static str]) -> bool {
        match self.text(keys) {
            Some((_, "true")) => true,
            None | Some((_, "false")) => false,
            Some((key, text)) => {
                let problem =
                    Problem::warning(format!("{text:?} counts as false"), "write \"true\" or \"false\"");
                self.problems.push(at(key, problem));
                false
            }
        }
    }
}

fn in_annotations(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}

fn at(key: &str, problem: Problem) -> Problem {
    problem.field(in_annotations(key))
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Each once, in order.
fn addresses(text: &str) -> Result<Vec<Addr>, String> {
    let mut addresses: Vec<Addr> = list(text).map(vip).collect::<Result<_, _>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    match addresses.is_empty() {
        true => Err("names no address; write one or more addresses joined by commas".to_owned()),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::problem::Severity;
    use crate::testing::addr;

    fn read(annotations: &[(&str, &str)], load_balancer_ip: Option<&str>) -> Ask {
        let owned = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        ask(&owned.collect(), load_balancer_ip)
    }

    fn named(addresses: &[&str]) -> Asked {
        Asked::Addresses(addresses.iter().map(|a| addr(a)).collect())
    }

    fn problems(ask: &Ask) -> Vec<String> {
        ask.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_spelling_asks_for_the_same() {
        for key in ADDRESSES {
            let ask = read(&[(key, "192.0.2.7, 2001:db8::7")], None);
            assert_eq!(ask.asked, named(&["192.0.2.7", "2001:db8::7"]), "{key}");
            assert_eq!(ask.problems, [], "{key}");
        }
        for key in POOL {
            assert_eq!(
                read(&[(key, " gold ")], None).pool.as_deref(),
                Some("gold"),
                "{key}"
            );
        }
        for key in SHARING_KEY {
            let want = Sharing {
                key: "dns".into(),
                namespaces: Namespaces::None,
                different_pods: false,
            };
            assert_eq!(read(&[(key, "dns")], None).sharing, Some(want), "{key}");
        }
        for key in SHARING_NAMESPACES {
            let shared = |with: &str| {
                read(&[(key, with), (SHARING_KEY[0], "dns")], None)
                    .sharing
                    .unwrap()
                    .namespaces
            };
            let two = ["a".into(), "b".into()].into_iter().collect();
            assert_eq!(shared("a, b"), Namespaces::Named(two), "{key}");
            assert_eq!(shared("*"), Namespaces::All, "{key}");
        }
        for key in SHARING_DIFFERENT_PODS {
            let ask = read(&[(key, "true"), (SHARING_KEY[0], "dns")], None);
            assert!(ask.sharing.unwrap().different_pods, "{key}");
        }
        for key in FROM_POOL {
            assert_eq!(
                read(&[(key, "gold")], None).from_pool.as_deref(),
                Some("gold"),
                "{key}"
            );
        }
        assert_eq!(read(&[], Some("192.0.2.7")).asked, named(&["192.0.2.7"]));
        assert_eq!(
            read(&[(ALLOW_DISRUPTION, "true")], None).disruption,
            Disruption::Allowed
        );
        assert_eq!(read(&[], Some(" ")), Ask::default());
    }

    #[test]
    fn of_two_spellings_the_present_one_counts_and_the_other_is_named() {
        let ask = read(
            &[
                ("metallb.io/address-pool", "new"),
                ("metallb.universe.tf/address-pool", "old"),
            ],
            None,
        );
        assert_eq!(ask.pool.as_deref(), Some("new"));
        assert_eq!(
            problems(&ask),
            [
                "metadata.annotations[metallb.universe.tf/address-pool]: \"old\" does not count: \
              metallb.io/address-pool says \"new\"; remove one of the two"
            ]
        );
        let same = [
            ("metallb.io/address-pool", "gold"),
            ("maglane.io/address-pool", "gold"),
        ];
        assert_eq!(problems(&read(&same, None)), [""; 0]);
    }

    #[test]
    fn two_address_wishes_must_agree() {
        let annotation = [("metallb.io/loadBalancerIPs", "192.0.2.7")];
        assert_eq!(read(&annotation, Some("192.0.2.7")).asked, named(&["192.0.2.7"]));
        let ask = read(&annotation, Some("192.0.2.8"));
        assert!(matches!(ask.asked, Asked::Invalid(_)), "{ask:?}");
        assert!(
            problems(&ask)[0].starts_with("spec.loadBalancerIP: \"192.0.2.8\" contradicts"),
            "{ask:?}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_field() {
        for (annotation, want) in [
            (("maglane.io/addresses", "web"), "which is no IP address"),
            (
                ("maglane.io/addresses", "127.0.0.1"),
                "cannot be a virtual address",
            ),
            (("maglane.io/addresses", " , "), "names no address"),
            (("maglane.io/allow-disruption", "yes"), "counts as false"),
            (
                ("maglane.io/sharing-cross-namespace", "*"),
                "means nothing without a sharing key",
            ),
        ] {
            let [problem] = &read(&[annotation], None).problems[..] else {
                panic!("{annotation:?}")
            };
            assert_eq!(problem.field, in_annotations(annotation.0));
            assert!(problem.to_string().contains(want), "{problem}");
            assert!(!problem.remedy.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_wish_or_a_problem(texts in prop::collection::vec("[a-z0-9.:,*/ \\t\u{e9}-]{0,30}", 26), ip in "\\PC{0,20}") {
            let keys = [&ADDRESSES[..], &POOL, &SHARING_KEY, &SHARING_NAMESPACES, &SHARING_DIFFERENT_PODS, &FROM_POOL];
            let keys = keys.into_iter().flatten().chain([&ALLOW_DISRUPTION]);
            let annotations = keys.zip(texts).map(|(key, text)| ((*key).to_owned(), text)).collect();
            let ask = ask(&annotations, Some(&ip));
            let refused = ask.problems.iter().any(|problem| problem.severity == Severity::Error);
            prop_assert_eq!(matches!(ask.asked, Asked::Invalid(_)), refused, "{:?}", ask);
        }
    }
}
