//! A directory of Kubernetes manifests as source of Services and EndpointSlices, followed live.
//!
//! `document` cuts files into documents, [`crate::convert`] turns objects into the crate's own types, `library` holds
//! what the files say and tells what changed; `watch` alone touches the file system. A file or object that
//! cannot be used keeps its last good state and is one error; the others go on.

pub(crate) mod document;
mod library;
mod secret;
#[cfg(test)]
mod tests;
mod watch;

pub use library::Library;
pub use secret::password;
pub use watch::ManifestSource;
