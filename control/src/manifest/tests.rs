use std::fs;
use std::path::Path;
use std::time::Duration;

use maglane_shared::flow::HashInputs;
use maglane_shared::service::ForwardingMode;
use proptest::prelude::*;

use super::*;
use crate::event::{Event, Source};
use crate::model::{EndpointSliceSpec, Readiness, ServiceSpec, Setting, Uid};
use crate::problem::{Problem, Severity};
use crate::testing::{addr, name};

fn web(vip: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    maglane.io/addresses: {vip}\n\
         spec:\n  ports:\n    - port: 80\n"
    )
}

fn ends(of: &str, address: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {of}-1\n  labels:\n    \
         kubernetes.io/service-name: {of}\naddressType: IPv4\nports: [{{port: 80}}]\n\
         endpoints:\n  - addresses: [{address}]\n"
    )
}

/// Events by kind and object, and the problems now.
#[derive(Default)]
struct Reader {
    library: Library,
    problems: Vec<Problem>,
}

impl Reader {
    fn put(&mut self, file: &str, text: &str) -> Vec<String> {
        self.library.put(file, text.as_bytes());
        self.news()
    }

    fn news(&mut self) -> Vec<String> {
        let mut told = vec![];
        for event in self.library.news() {
            if let Event::SourceProblems { problems, .. } = event {
                self.problems = problems;
            } else {
                told.push(summary(&event));
            }
        }
        told
    }

    fn errors(&self) -> Vec<String> {
        self.problems.iter().map(ToString::to_string).collect()
    }

    fn error(&self) -> String {
        let [error] = &self.errors()[..] else {
            panic!("{:#?}", self.errors())
        };
        error.clone()
    }
}

fn summary(event: &Event) -> String {
    if let Event::ServiceApplied(spec) = event {
        let vips: Vec<String> = spec
            .vips
            .get()
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect();
        format!("{} {}", spec.name, vips.join(","))
    } else if let Event::SliceApplied(spec) = event {
        let ends: Vec<String> = spec.endpoints.iter().map(|e| e.addr.to_string()).collect();
        format!("{} {}", spec.name, ends.join(","))
    } else if let Event::ServiceDeleted(name) | Event::SliceDeleted(name) = event {
        format!("-{name}")
    } else {
        format!("{event:?}")
    }
}

fn service_of(text: &str) -> (ServiceSpec, Vec<Problem>) {
    let mut library = Library::default();
    library.put("a.yaml", text.as_bytes());
    let (mut spec, mut problems) = (None, vec![]);
    for event in library.news() {
        if let Event::ServiceApplied(applied) = event {
            spec = Some(*applied);
        } else if let Event::SourceProblems { problems: told, .. } = event {
            problems = told;
        }
    }
    (
        spec.unwrap_or_else(|| panic!("no Service; {problems:?}")),
        problems,
    )
}

fn slice_of(text: &str) -> EndpointSliceSpec {
    let mut library = Library::default();
    library.put("a.yaml", text.as_bytes());
    let news = library.news();
    let found = news.iter().find_map(|e| {
        if let Event::SliceApplied(spec) = e {
            Some(spec)
        } else {
            None
        }
    });
    *found.unwrap_or_else(|| panic!("{news:?}")).clone()
}

#[test]
fn documents_lists_and_json_are_read() {
    let mut reader = Reader::default();
    let many = format!(
        "# a comment\n---\n{}---\n{}---\n",
        web("192.0.2.1"),
        ends("web", "10.0.0.1")
    );
    assert_eq!(
        reader.put("a.yaml", &many),
        ["default/web 192.0.2.1", "default/web-1 10.0.0.1"]
    );
    assert_eq!(reader.put("a.yaml", &many), [""; 0], "nothing new");
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "b", "namespace": "prod"},
         "spec": {"loadBalancerIP": "192.0.2.2", "ports": [{"port": 53, "protocol": "UDP", "targetPort": 5353}]}}]}"#;
    assert_eq!(reader.put("b.json", list), ["prod/b 192.0.2.2"]);
    let items = "apiVersion: v1\nkind: ServiceList\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: c}\n  \
                 spec: {loadBalancerIP: 192.0.2.3, ports: [{port: 1}]}\n";
    assert_eq!(reader.put("c.yml", items), ["default/c 192.0.2.3"]);
    assert_eq!(reader.errors(), [""; 0]);
    reader.library.remove("a.yaml");
    assert_eq!(reader.news(), ["-default/web", "-default/web-1"]);
}

#[test]
fn a_broken_document_keeps_its_last_good_state_and_leaves_the_others_alone() {
    let mut reader = Reader::default();
    let file = |first: &str, second: &str| format!("{first}---\n{second}");
    reader.put("a.yaml", &file(&web("192.0.2.1"), &ends("web", "10.0.0.1")));
    // Not YAML at all: it could have been any object of this file.
    let broken = web("192.0.2.1").replace("name: web", "name: [web");
    assert_eq!(
        reader.put("a.yaml", &file(&broken, &ends("web", "10.0.0.2"))),
        ["default/web-1 10.0.0.2"]
    );
    assert!(
        reader
            .error()
            .starts_with("a.yaml: document 1, line 1: is not YAML at line"),
        "{}",
        reader.error()
    );
    // The second document broken, the first changed.
    let broken = ends("web", "10.0.0.2").replace("port: 80", "port: eighty");
    assert_eq!(
        reader.put("a.yaml", &file(&web("192.0.2.9"), &broken)),
        ["default/web 192.0.2.9"]
    );
    let error = reader.error();
    assert!(
        error.starts_with("a.yaml: document 2, line 10: EndpointSlice default/web-1: ports[0].port: "),
        "{error}"
    );
    assert!(
        error.contains("eighty") && error.contains("(line 18 of the file)"),
        "{error}"
    );
    assert!(error.ends_with("until then its last good state holds"), "{error}");
    // Another object of the same file may go meanwhile: it is known which one is broken.
    assert_eq!(reader.put("a.yaml", &broken), ["-default/web"]);
    assert_eq!(reader.put("a.yaml", &ends("web", "10.0.0.2")), [""; 0]);
    assert_eq!(reader.errors(), [""; 0]);
}

#[test]
fn errors_name_file_document_field_and_remedy() {
    let port = |port: &str| web("192.0.2.1").replace("port: 80", port);
    let slice = |from: &str, to: &str| ends("web", "10.0.0.1").replace(from, to);
    for (text, want) in [
        (
            port("port: 0"),
            "Service default/web: spec.ports[0].port: 0 is missing or no port; write 1 to 65535",
        ),
        (
            port("prot: 80"),
            "Service default/web: spec.ports[0].port: 0 is missing or no port",
        ),
        (
            port("port: 70000"),
            "Service default/web: spec.ports[0].port: 70000 is",
        ),
        (
            port("port: '80'"),
            "Service default/web: spec.ports[0].port: invalid type: string \"80\"",
        ),
        (
            port("targetPort: 0\n      port: 80"),
            "spec.ports[0].targetPort: 0 is",
        ),
        (
            web("x").replace("  name: web\n", ""),
            "metadata.name: is missing; every object needs a name",
        ),
        (
            web("x").replace("kind: Service", "kin: Service"),
            "has no apiVersion or no kind",
        ),
        (
            slice("10.0.0.1", "10.0.0"),
            "endpoints[0].addresses[0]: \"10.0.0\" holds \"10.0.0\", which is no IP address",
        ),
        (
            slice("10.0.0.1", "'fd00::1'"),
            "endpoints[0].addresses[0]: \"fd00::1\" is not of the slice's addressType",
        ),
        (
            slice("IPv4", "IPv5"),
            "addressType: \"IPv5\" is missing or unknown; write IPv4 or IPv6",
        ),
        (slice("[10.0.0.1]", "[]"), "endpoints[0].addresses[0]: is missing"),
        (slice("port: 80", "port: -1"), "ports[0].port: -1 is"),
        ("a: b: c\n".to_owned(), "is not YAML at line 1 of the file"),
        ("just text\n".to_owned(), "invalid type: string"),
    ] {
        let mut reader = Reader::default();
        assert_eq!(reader.put("a.yaml", &text), [""; 0], "{text}");
        let error = reader.error();
        assert!(
            error.starts_with("a.yaml: document 1, line 1: ") && error.contains(want),
            "{error}\nwants {want}"
        );
        assert!(!error.contains('\n'), "{error}");
    }
    let mut reader = Reader::default();
    reader.library.put("b.yaml", &[0xff, 0xfe, 0xff]);
    reader.news();
    assert!(reader.error().starts_with("b.yaml: is not UTF-8 text; "));
    let mut reader = Reader::default();
    reader.put("c.json", "{\"apiVersion\": ");
    assert!(
        reader.error().starts_with("c.json: document 1: is not JSON: "),
        "{}",
        reader.error()
    );
}

#[test]
fn the_same_object_in_two_files_is_the_first_by_name() {
    let mut reader = Reader::default();
    assert_eq!(reader.put("b.yaml", &web("192.0.2.2")), ["default/web 192.0.2.2"]);
    assert_eq!(reader.put("a.yaml", &web("192.0.2.1")), ["default/web 192.0.2.1"]);
    let want =
        "b.yaml: Service default/web: is in a.yaml as well, which comes first by name and holds; keep one";
    assert!(reader.error().starts_with(want), "{}", reader.error());
    reader.library.remove("a.yaml");
    assert_eq!(reader.news(), ["default/web 192.0.2.2"]);
    assert_eq!(reader.errors(), [""; 0]);
    let twice = format!("{}---\n{}", web("192.0.2.3"), web("192.0.2.4"));
    assert_eq!(reader.put("b.yaml", &twice), ["default/web 192.0.2.3"]);
    assert!(reader.error().contains("is there twice"));
}

#[test]
fn addresses_come_from_annotation_status_or_spec() {
    let text = |annotation: &str, status: &str, spec: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{{annotation}}}}}\n\
             spec: {{type: LoadBalancer, ports: [{{port: 80}}], {spec}}}\nstatus: {{loadBalancer: {{ingress: [{status}]}}}}\n"
        )
    };
    let annotation = "maglane.io/addresses: '192.0.2.1, 2001:db8::1'";
    let status =
        "{ip: 192.0.2.2}, {ip: 192.0.2.3, ipMode: Proxy}, {ip: 192.0.2.4, ipMode: VIP}, {hostname: lb}";
    let spec = "loadBalancerIP: 192.0.2.5";
    let vips = |text: String| -> Vec<String> {
        service_of(&text)
            .0
            .vips
            .get()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(vips(text(annotation, status, spec)), ["192.0.2.1", "2001:db8::1"]);
    assert_eq!(vips(text("", status, spec)), ["192.0.2.2", "192.0.2.4"]);
    assert_eq!(
        vips(text("", "{ip: 192.0.2.3, ipMode: Proxy}", spec)),
        ["192.0.2.5"]
    );
    assert_eq!(service_of(&text("", "", "")).0.vips, Setting::Unset);
}

#[test]
fn annotations_are_checked_each_by_itself() {
    let with = |annotations: &str| {
        let text = web("192.0.2.1").replace("spec:", &format!("{annotations}spec:"));
        service_of(&text).0
    };
    let good = with(
        "    maglane.io/forwarding-mode: l2-dsr\n    maglane.io/hash-inputs: client-address\n    \
         maglane.io/weights: 10.0.0.1=3, fd00::1=0\n",
    );
    assert_eq!(good.mode, Setting::Valid(ForwardingMode::L2Dsr));
    assert_eq!(good.hash_inputs, Setting::Valid(HashInputs::ClientAddress));
    let weights = [(addr("10.0.0.1"), 3), (addr("fd00::1"), 0)].into();
    assert_eq!(good.weights, Setting::Valid(weights));
    for (annotation, value, want) in [
        (
            "forwarding-mode",
            "nta",
            "\"nta\" is not a forwarding mode; use nat, dnat, l2-dsr, ipip or gue",
        ),
        (
            "hash-inputs",
            "ip",
            "\"ip\" is not known; use five-tuple or client-address",
        ),
        ("weights", "10.0.0.1", "write ADDRESS=WEIGHT"),
        ("weights", "10.0.0.1=70000", "write ADDRESS=WEIGHT"),
        ("addresses", "''", "names no address"),
        (
            "addresses",
            "192.0.2.1/32",
            "which is no IP address; write addresses without prefix length",
        ),
        ("addresses", "127.0.0.1", "which cannot be a virtual address"),
        ("addresses", "224.0.0.1", "which cannot be a virtual address"),
        (
            "adresses",
            "192.0.2.1",
            "is no annotation that this version knows; correct its spelling",
        ),
    ] {
        let line = format!("    maglane.io/{annotation}: {value}\n");
        let text = match annotation {
            "addresses" => web(value),
            _ => web("192.0.2.1").replace("spec:", &format!("{line}spec:")),
        };
        let (spec, _) = service_of(&text);
        let settings = [
            spec.vips.problem(),
            spec.mode.problem(),
            spec.hash_inputs.problem(),
            spec.weights.problem(),
        ];
        let told: Vec<String> = settings
            .into_iter()
            .flatten()
            .chain(&spec.problems)
            .map(ToString::to_string)
            .collect();
        let place = format!("Service default/web: metadata.annotations[maglane.io/{annotation}]: ");
        assert!(
            told.len() == 1 && told[0].contains(&place) && told[0].contains(want),
            "{told:?} {want}"
        );
    }
}

#[test]
fn client_affinity_hashes_the_client_address_alone() {
    let text = web("192.0.2.1").replace("spec:", "spec:\n  sessionAffinity: ClientIP");
    assert_eq!(
        service_of(&text).0.hash_inputs,
        Setting::Valid(HashInputs::ClientAddress)
    );
    let wins = text.replace(
        "annotations:",
        "annotations:\n    maglane.io/hash-inputs: five-tuple",
    );
    assert_eq!(
        service_of(&wins).0.hash_inputs,
        Setting::Valid(HashInputs::FiveTuple)
    );
}

#[test]
fn what_is_not_for_us_is_left_alone_with_a_note() {
    for (from, to, want) in [
        ("spec:", "spec:\n  clusterIP: None", "headless"),
        ("spec:", "spec:\n  type: ExternalName", "ExternalName"),
        (
            "  name: web",
            "  name: web\n  labels: {service.kubernetes.io/service-proxy-name: x}",
            "another proxy",
        ),
        (
            "v1\nkind: Service",
            "apps/v1\nkind: Deployment",
            "Deployment (apps/v1) is ignored",
        ),
    ] {
        let mut reader = Reader::default();
        reader.put("a.yaml", &web("192.0.2.1"));
        assert_eq!(
            reader.put("a.yaml", &web("192.0.2.1").replace(from, to)),
            ["-default/web"],
            "{to}"
        );
        assert!(reader.error().contains(want), "{}", reader.error());
        assert_eq!(reader.problems[0].severity, Severity::Note);
    }
}

#[test]
fn source_ranges_are_read_and_a_bad_one_closes_rather_than_opens() {
    let with = |ranges: &str| {
        let text = format!("spec:\n  loadBalancerSourceRanges: {ranges}");
        let spec = service_of(&web("192.0.2.1").replace("spec:", &text)).0;
        let ranges = spec
            .source_ranges
            .map(|ranges| ranges.iter().map(ToString::to_string).collect::<Vec<_>>());
        (ranges, spec.problems.len())
    };
    let some = |ranges: &[&str]| Some(ranges.iter().map(|r| (*r).to_owned()).collect());
    assert_eq!(with("[]"), (None, 0));
    assert_eq!(
        with("[10.1.2.3/8, '2001:db8::/32']"),
        (some(&["10.0.0.0/8", "2001:db8::/32"]), 0)
    );
    assert_eq!(with("[10.0.0.0/8, all]"), (some(&["10.0.0.0/8"]), 1));
    assert_eq!(with("[all]"), (some(&[]), 1));
}

#[test]
fn conditions_become_readiness() {
    for (conditions, want) in [
        ("", Readiness::Ready),
        ("conditions: {}", Readiness::Ready),
        (
            "conditions: {ready: true, serving: true, terminating: true}",
            Readiness::Ready,
        ),
        ("conditions: {ready: false}", Readiness::NotReady),
        ("conditions: {ready: false, serving: true}", Readiness::NotReady),
        (
            "conditions: {ready: false, serving: true, terminating: true}",
            Readiness::ServingTerminating,
        ),
        (
            "conditions: {ready: false, serving: false, terminating: true}",
            Readiness::NotReady,
        ),
    ] {
        let text = format!("{}    {conditions}\n", ends("web", "10.0.0.1"));
        assert_eq!(slice_of(&text).endpoints[0].readiness, want, "{conditions}");
    }
    let pod = format!(
        "{}    targetRef: {{kind: Pod, uid: abc}}\n",
        ends("web", "10.0.0.1")
    );
    assert_eq!(slice_of(&pod).endpoints[0].uid, Uid::of("abc"));
    let every = ends("web", "10.0.0.1").replace("ports: [{port: 80}]\n", "");
    assert_eq!(slice_of(&every).ports, None);
}

#[test]
fn the_shipped_example_is_good() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let mut reader = Reader::default();
    for file in fs::read_dir(example).unwrap() {
        let path = file.unwrap().path();
        let told = reader.put(
            path.file_name().unwrap().to_str().unwrap(),
            &fs::read_to_string(&path).unwrap(),
        );
        assert!(!told.is_empty());
    }
    assert_eq!(reader.errors(), [""; 0]);
}

proptest! {
    #[test]
    fn no_text_panics_and_none_takes_the_neighbour_file_along(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let mut reader = Reader::default();
        reader.put("good.yaml", &web("192.0.2.1"));
        for file in ["b.yaml", "b.json"] {
            reader.library.put(file, text.as_bytes());
            reader.library.put(file, &bytes);
        }
        prop_assert!(!reader.news().iter().any(|told| told.contains("default/web")));
    }

    #[test]
    fn a_cut_file_keeps_every_object(at in 0usize..400) {
        let whole = format!("{}---\n{}", web("192.0.2.1"), ends("web", "10.0.0.1"));
        let mut reader = Reader::default();
        reader.put("a.yaml", &whole);
        let cut = at.min(whole.len());
        // A text that ends early may still be YAML; what can be read counts, but a broken one deletes nothing.
        let told = reader.put("a.yaml", &whole[..cut]);
        if reader.problems.iter().any(|p| p.object.is_none() && p.severity == Severity::Error) {
            prop_assert!(told.iter().all(|t| !t.starts_with('-')), "{told:?}");
        }
        let told = reader.put("a.yaml", &whole);
        prop_assert!(!told.contains(&"-default/web".to_owned()), "{told:?}");
    }
}

/// Waits for events until one says what is wanted.
async fn until(source: &mut ManifestSource, want: &str) -> Vec<String> {
    let mut told = vec![];
    let wait = async {
        loop {
            told.extend(source.next().await.iter().map(summary));
            if told.iter().any(|t| t.contains(want)) {
                return;
            }
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(done.is_ok(), "{want:?} does not come; came: {told:?}");
    told
}

fn on_a_runtime(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test());
}

#[test]
fn a_directory_is_followed_through_every_kind_of_change() {
    on_a_runtime(async || {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        fs::write(file("a.yaml"), web("192.0.2.1")).unwrap();
        fs::write(file("README.md"), "not ours").unwrap();
        fs::write(file(".hidden.yaml"), web("192.0.2.99")).unwrap();
        let mut source = ManifestSource::open(dir.path()).unwrap();
        let first = source.next().await;
        assert_eq!(summary(&first[0]), "default/web 192.0.2.1");
        assert_eq!(first.last(), Some(&Event::SourceSynced(Source::Manifests)));
        assert_eq!(first.len(), 2);
        // Written in place.
        fs::write(file("a.yaml"), web("192.0.2.2")).unwrap();
        until(&mut source, "default/web 192.0.2.2").await;
        // Renamed over, as editors and careful scripts do.
        fs::write(file(".a.yaml.swp"), web("192.0.2.3")).unwrap();
        fs::rename(file(".a.yaml.swp"), file("a.yaml")).unwrap();
        until(&mut source, "default/web 192.0.2.3").await;
        // A new file, and a broken one that is mended.
        fs::write(file("b.yml"), ends("web", "10.0.0.1")).unwrap();
        until(&mut source, "default/web-1 10.0.0.1").await;
        fs::write(file("b.yml"), "endpoints: [").unwrap();
        until(&mut source, "is not YAML").await;
        fs::write(file("b.yml"), ends("web", "10.0.0.2")).unwrap();
        until(&mut source, "default/web-1 10.0.0.2").await;
        // Renamed away and removed.
        fs::rename(file("b.yml"), file("b.txt")).unwrap();
        until(&mut source, "-default/web-1").await;
        fs::remove_file(file("a.yaml")).unwrap();
        until(&mut source, "-default/web").await;
    });
}

#[test]
fn a_mounted_config_map_swaps_everything_at_once() {
    on_a_runtime(async || {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let version = |name: &str, vip: &str| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("a.yaml"), web(vip)).unwrap();
        };
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
        version("..1", "192.0.2.1");
        link("..1", "..data");
        link("..data/a.yaml", "a.yaml");
        let mut source = ManifestSource::open(dir.path()).unwrap();
        assert_eq!(summary(&source.next().await[0]), "default/web 192.0.2.1");
        version("..2", "192.0.2.2");
        link("..2", "..data_tmp");
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at("..1")).unwrap();
        let told = until(&mut source, "default/web 192.0.2.2").await;
        assert!(told.iter().all(|t| !t.starts_with('-')), "{told:?}");
    });
}

#[test]
fn a_directory_that_is_gone_keeps_everything_and_is_found_again() {
    on_a_runtime(async || {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("manifests");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.yaml"), web("192.0.2.1")).unwrap();
        let mut source = ManifestSource::open(&dir).unwrap();
        source.next().await;
        fs::rename(&dir, parent.path().join("away")).unwrap();
        let told = until(&mut source, "cannot be read").await;
        assert!(told.iter().all(|t| !t.starts_with('-')), "{told:?}");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a.yaml"), web("192.0.2.2")).unwrap();
        until(&mut source, "default/web 192.0.2.2").await;
        fs::write(dir.join("a.yaml"), web("192.0.2.3")).unwrap();
        until(&mut source, "default/web 192.0.2.3").await;
    });
}

#[test]
fn a_directory_that_does_not_exist_is_refused_with_its_name() {
    on_a_runtime(async || {
        let Err(error) = ManifestSource::open(Path::new("/nonexistent/manifests")) else {
            panic!("opened")
        };
        assert!(
            error
                .to_string()
                .starts_with("--manifests /nonexistent/manifests: cannot be watched"),
            "{error}"
        );
    });
}

#[test]
fn names_are_in_the_default_namespace_unless_they_say_otherwise() {
    assert_eq!(service_of(&web("192.0.2.1")).0.name, name("web"));
}

#[test]
fn an_import_in_a_manifest_is_told_and_its_thresholds_are_read_without_the_annotation() {
    let import = |version: &str, kind: &str| {
        format!(
            "apiVersion: multicluster.x-k8s.io/{version}\nkind: ServiceImport\nmetadata: {{name: web}}\n\
             spec: {{type: {kind}}}\n"
        )
    };
    for version in ["v1alpha1", "v1beta1"] {
        let mut library = Library::default();
        library.put("a.yaml", import(version, "ClusterSetIP").as_bytes());
        let [Event::ImportApplied(spec)] = &library.news()[..] else {
            panic!("{version}");
        };
        assert_eq!(spec.name, name("web"));
        library.put("a.yaml", import(version, "Headless").as_bytes());
        assert_eq!(library.news()[0], Event::ImportDeleted(name("web")));
    }
    let text = web("192.0.2.1").replace("spec:", "    maglane.io/failover-threshold: \"2\"\nspec:");
    let spec = service_of(&text).0;
    assert_eq!(spec.global, Setting::Unset);
    assert_eq!(spec.imported.get().unwrap().failover_threshold, Some(2));
    let bad = service_of(&text.replace("\"2\"", "few")).0;
    assert!(bad.imported.problem().is_some());
}
