//! Values of flags as people write them: `auto`, `16384-29999`, `5m`, 32 hexadecimal digits.
//!
//! Each parse error says what was expected; clap puts the flag and the value in front.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

/// A number, or whatever fits what is found at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoOr<T> {
    Auto,
    Fixed(T),
}

impl<T: FromStr> FromStr for AutoOr<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(AutoOr::Auto),
            number => number
                .parse()
                .map(AutoOr::Fixed)
                .map_err(|_| "write `auto` or a whole number".to_owned()),
        }
    }
}

/// A number, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffOr {
    Off,
    Fixed(u32),
}

impl FromStr for OffOr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" | "0" => Ok(OffOr::Off),
            number => number
                .parse()
                .map(OffOr::Fixed)
                .map_err(|_| "write `off` or a number of microseconds".to_owned()),
        }
    }
}

/// How to reach the cluster of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kubeconfig {
    InCluster,
    File(PathBuf),
}

impl FromStr for Kubeconfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("write `in-cluster` or the path of a kubeconfig file".to_owned()),
            "in-cluster" => Ok(Kubeconfig::InCluster),
            path => Ok(Kubeconfig::File(path.into())),
        }
    }
}

impl fmt::Display for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kubeconfig::InCluster => f.write_str("in-cluster"),
            Kubeconfig::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Another cluster: `east=/etc/maglane/east.kubeconfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSource {
    pub name: String,
    pub kubeconfig: PathBuf,
}

impl FromStr for ClusterSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok(ClusterSource {
                name: name.to_owned(),
                kubeconfig: path.into(),
            }),
            Some(_) | None => Err("write NAME=FILE, the file a kubeconfig".to_owned()),
        }
    }
}

/// Addresses besides those of load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Served {
    /// Node ports, on this node's own addresses.
    NodePort,
    /// Cluster addresses.
    ClusterIp,
    /// `spec.externalIPs`: whoever may create a Service can then take over any address (CVE-2020-8554).
    ExternalIp,
}

/// Which CPU core each worker is pinned to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    Auto,
    List(Vec<usize>),
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Cores::Auto);
        }
        let mut list = vec![];
        for part in text.split(',') {
            list.extend(core_range(part)?);
        }
        Ok(Cores::List(list))
    }
}

fn core_range(part: &str) -> Result<std::ops::RangeInclusive<usize>, String> {
    let remedy =
        || format!("{part:?} is not a core or a range of cores: write `auto` or, as in taskset, 2,4-7");
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let first = first.trim().parse().map_err(|_| remedy())?;
    let last = last.trim().parse().map_err(|_| remedy())?;
    if first > last || last > 65_535 {
        Err(remedy())
    } else {
        Ok(first..=last)
    }
}

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

impl Ports {
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    pub fn overlaps(self, other: Ports) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let remedy = || "write the first and the last port, as in 16384-29999".to_owned();
        let (first, last) = text.split_once('-').ok_or_else(remedy)?;
        let first: u16 = first.trim().parse().map_err(|_| remedy())?;
        let last: u16 = last.trim().parse().map_err(|_| remedy())?;
        if first == 0 || first > last {
            Err(remedy())
        } else {
            Ok(Ports { first, last })
        }
    }
}

/// Where the 128-bit secret of the flow hash comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum HashKeySource {
    WellKnown,
    Secret([u8; 16]),
    File(PathBuf),
}

impl fmt::Debug for HashKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HashKeySource::WellKnown => "well-known",
            HashKeySource::Secret(_) => "(secret)",
            HashKeySource::File(_) => "(file)",
        })
    }
}

impl FromStr for HashKeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix('@')) {
            ("well-known", _) => Ok(HashKeySource::WellKnown),
            (_, Some(path)) => Ok(HashKeySource::File(path.into())),
            (digits, None) => parse_secret(digits).map(HashKeySource::Secret),
        }
    }
}

/// 16 bytes from 32 hexadecimal digits.
pub fn parse_secret(digits: &str) -> Result<[u8; 16], String> {
    let remedy =
        || "write 32 hexadecimal digits (`openssl rand -hex 16`) or @FILE that holds them".to_owned();
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(remedy());
    }
    u128::from_str_radix(digits, 16)
        .map(u128::to_be_bytes)
        .map_err(|_| remedy())
}

/// `90s`, `5m`, `1h 30m`; a unit is required.
pub fn duration(text: &str) -> Result<Duration, String> {
    let remedy = "write a time with its unit, as in 500ms, 90s, 5m or 6h";
    let value = humantime::parse_duration(text).map_err(|_| remedy.to_owned())?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(20 * 24 * 3600);
    if bounds.contains(&value) {
        Ok(value)
    } else {
        Err(format!("{remedy}; from 100ms to 20days"))
    }
}

/// A time to wait, or none at all.
pub fn patience(text: &str) -> Result<Duration, String> {
    match text {
        "off" | "0" | "0s" => Ok(Duration::ZERO),
        text => duration(text).map_err(|error| format!("{error}; or `off`")),
    }
}

/// A power of two, for ring sizes.
pub fn ring_size(text: &str) -> Result<u32, String> {
    let remedy = "write a power of two from 64 to 65536".to_owned();
    match text.parse::<u32>() {
        Ok(size) if size.is_power_of_two() && (64..=65_536).contains(&size) => Ok(size),
        Ok(_) | Err(_) => Err(remedy),
    }
}

/// Use it when it works, insist, or do not try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    Auto,
    On,
    Off,
}

/// Where the steering program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum XdpMode {
    /// In the driver; in the network stack, with a warning, where the driver cannot.
    Auto,
    /// In the driver or not at all.
    Native,
    /// In the network stack: works with every driver, slower.
    Generic,
}

/// What an idle worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Wait {
    /// Spins: lowest latency, a whole core.
    Busy,
    /// Spins for --spin-us, then sleeps until a packet arrives.
    Adaptive,
    /// Sleeps at once.
    Sleep,
}

/// The answer to a packet for a VIP on a port without a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UnknownPort {
    /// None.
    Drop,
    /// ICMP port unreachable, rate-limited.
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_as_taskset_reads_them() {
        assert_eq!("2,4-6".parse(), Ok(Cores::List(vec![2, 4, 5, 6])));
        assert_eq!("auto".parse(), Ok(Cores::Auto));
        for bad in ["", "a", "3-1", "1,,2", "-"] {
            assert!(bad.parse::<Cores>().unwrap_err().contains("taskset"), "{bad}");
        }
    }

    #[test]
    fn port_ranges_are_inclusive() {
        let ports: Ports = "10-20".parse().unwrap();
        assert!(ports.contains(10) && ports.contains(20) && !ports.contains(21));
        assert!(
            ports.overlaps(Ports { first: 20, last: 30 }) && !ports.overlaps(Ports { first: 21, last: 30 })
        );
        for bad in ["", "5", "0-5", "9-8", "1-70000", "a-b"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_is_32_hexadecimal_digits_and_never_printed() {
        let key: HashKeySource = "000102030405060708090a0b0c0d0e0f".parse().unwrap();
        let HashKeySource::Secret(secret) = &key else {
            panic!("{key:?}")
        };
        assert_eq!(secret[15], 15);
        assert_eq!(format!("{key:?}"), "(secret)");
        assert!(
            "00".parse::<HashKeySource>()
                .unwrap_err()
                .contains("openssl rand -hex 16")
        );
        assert!(
            "+00102030405060708090a0b0c0d0e0f"
                .parse::<HashKeySource>()
                .is_err()
        );
        assert_eq!(
            "@/a/b".parse::<HashKeySource>(),
            Ok(HashKeySource::File("/a/b".into()))
        );
    }

    #[test]
    fn times_need_a_unit_and_rings_a_power_of_two() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(patience("5m"), duration("5m"));
        assert_eq!(patience("off"), Ok(Duration::ZERO));
        assert!(patience("5").unwrap_err().ends_with("or `off`"));
        assert!(duration("300").is_err() && duration("1ms").is_err() && duration("90days").is_err());
        assert_eq!(ring_size("2048"), Ok(2048));
        assert!(ring_size("1000").is_err() && ring_size("0").is_err() && ring_size("x").is_err());
    }
}
