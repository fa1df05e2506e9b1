use super::*;
use crate::manifest::Library;

fn read(yaml: &str) -> Vec<Event> {
    let mut library = Library::of(ClusterId::OWN);
    library.put("test.yaml", yaml.as_bytes());
    library.news()
}

fn pool(name: &str, range: &str) -> String {
    format!(
        "---\napiVersion: maglane.io/v1alpha1\nkind: AddressPool\nmetadata: {{name: {name}}}\nspec: {{addresses: \
         [{range}]}}\n"
    )
}

/// With its address where it has one, and its endpoints.
fn service(name: &str, held: &str, endpoints: &[&str], more: &str) -> String {
    let status = match held {
        "" => String::new(),
        held => format!("status: {{loadBalancer: {{ingress: [{{ip: {held}}}]}}}}\n"),
    };
    let endpoints: Vec<String> = endpoints
        .iter()
        .map(|e| format!("{{addresses: [{e}]}}"))
        .collect();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: default\n{more}spec:\n  \
         type: LoadBalancer\n  clusterIP: 10.96.0.1\n  ipFamilies: [IPv4]\n  ports: [{{port: 80}}]\n{status}---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-1\n  namespace: default\n  \
         labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\nports: [{{port: 80}}]\nendpoints: [{}]\n",
        endpoints.join(", ")
    )
}

fn settings() -> PlanSettings {
    PlanSettings {
        default_class: true,
        ..PlanSettings::default()
    }
}

fn show(now: &str, then: &str) -> Preview {
    preview(read(now), read(then), &settings())
}

fn kinds(preview: &Preview) -> Vec<String> {
    let line = |change: &ServiceChange| format!("{} {}", change.service, change.change.name());
    preview.services.iter().map(line).collect()
}

#[test]
fn nothing_changes_where_nothing_is_changed() {
    let now = pool("main", "192.0.2.0/29") + &service("web", "192.0.2.1", &["10.0.0.1", "10.0.0.2"], "");
    let preview = show(&now, &now);
    assert_eq!(kinds(&preview), ["default/web keeps"]);
    assert!(!preview.is_destructive());
    assert!(preview.announced.is_empty() && preview.withdrawn.is_empty() && preview.ports.is_empty());
    assert!(
        preview.rows.all >= 200 && preview.rows.moved == 0,
        "{:?}",
        preview.rows
    );
}

#[test]
fn a_new_service_gains_an_address_that_is_announced() {
    let now = pool("main", "192.0.2.0/29");
    let preview = show(&now, &service("web", "", &["10.0.0.1"], ""));
    assert_eq!(kinds(&preview), ["default/web gains"]);
    assert_eq!(preview.announced, ["192.0.2.0".parse().unwrap()]);
    assert_eq!(preview.services[0].why, "192.0.2.0 from address pool main");
    assert!(!preview.is_destructive());
    // Without room it waits, and says why.
    let small = pool("main", "192.0.2.0/32") + &service("web", "192.0.2.0", &["10.0.0.1"], "");
    let preview = show(&small, &service("late", "", &[], ""));
    assert_eq!(kinds(&preview), ["default/late waits", "default/web keeps"]);
    assert!(!preview.services[0].why.is_empty() && !preview.is_destructive());
}

#[test]
fn a_pool_that_leaves_its_services_is_destructive_whether_refused_or_not() {
    let now = pool("main", "192.0.2.0/29") + &service("web", "192.0.2.1", &["10.0.0.1"], "");
    let elsewhere = pool("main", "198.51.100.0/29");
    let refused = show(&now, &elsewhere);
    assert_eq!(kinds(&refused), ["default/web keeps"]);
    assert!(
        refused.services[0].refused && refused.is_destructive(),
        "{refused:?}"
    );
    let consent = elsewhere.replace(
        "metadata: {name: main}",
        "metadata: {name: main, annotations: {maglane.io/allow-disruption: \"true\"}}",
    );
    let moved = show(&now, &consent);
    assert_eq!(kinds(&moved), ["default/web moves"]);
    assert!(moved.is_destructive());
    assert_eq!(moved.withdrawn, ["192.0.2.1".parse().unwrap()]);
    assert_eq!(moved.announced, ["198.51.100.0".parse().unwrap()]);
}

#[test]
fn a_file_without_a_status_takes_nothing_away() {
    let now = pool("main", "192.0.2.0/29") + &service("web", "192.0.2.5", &["10.0.0.1"], "");
    let preview = show(&now, &service("web", "", &["10.0.0.1"], ""));
    assert_eq!(kinds(&preview), ["default/web keeps"]);
    assert_eq!(preview.services[0].after, ["192.0.2.5".parse().unwrap()]);
}

#[test]
fn one_backend_more_moves_its_share_of_the_rows_and_little_else() {
    let ends = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"];
    let now = pool("main", "192.0.2.0/29") + &service("web", "192.0.2.1", &ends[..3], "");
    let preview = show(&now, &service("web", "192.0.2.1", &ends, ""));
    let percent = preview.rows.percent();
    assert!((24.0..40.0).contains(&percent), "{percent} %");
    assert_eq!(preview.ports[0].vip, "192.0.2.1:80/TCP");
    assert!(!preview.is_destructive());
}
