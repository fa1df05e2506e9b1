//! The objects of one kind: from the server's JSON into the fold.

use super::Cluster;
use super::fold::{Fold, News, Seen};
use super::wire::{Header, Line, Page, version};
use crate::convert::{Converted, Origin};
use crate::kube::failure::Failure;
use crate::kube::kinds::Kind;
use crate::model::{ObjectName, ObjectRef};
use crate::problem::Problem;

/// Objects read before others may run on this thread.
const AT_ONCE: usize = 8;
const MEND: &str = "correct it; until then its last good state holds";

pub(super) struct Objects {
    cluster: Cluster,
    kind: &'static Kind,
    pub fold: Fold,
}

impl Objects {
    pub fn new(cluster: Cluster, kind: &'static Kind, fold: Fold) -> Objects {
        Objects { cluster, kind, fold }
    }

    /// An object without a name could be any of those known: the list then proves no deletion.
    pub async fn take_page(&mut self, page: &Page<'_>, news: &mut News) -> Result<(), Failure> {
        let mut all_named = Ok(());
        for (at, json) in page.items().enumerate() {
            if at % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            all_named = all_named.and(self.take(json, news).map(drop));
        }
        all_named
    }

    /// `from` becomes the version to go on from.
    pub fn take_lines(&mut self, lines: &[u8], from: &mut String, news: &mut News) -> Result<(), Failure> {
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        for line in lines {
            let at = match Line::read(line)? {
                Line::Put(json) => self.take(json, news)?,
                Line::Deleted(json) => {
                    let (name, at) = self.identify(json)?;
                    self.fold.gone(&name, news);
                    at
                }
                Line::Bookmark(at) => at.into_owned(),
            };
            self.fold.advance(version(&at));
            *from = at;
        }
        Ok(())
    }

    /// Takes an object in; returns its version.
    fn take(&mut self, json: &str, news: &mut News) -> Result<String, Failure> {
        let (name, text) = self.identify(json)?;
        let version = version(&text);
        if !self.fold.is_current(&name, version) {
            let seen = self.read(&name, json);
            self.fold.put(name, version, seen, news);
        }
        Ok(text)
    }

    fn identify(&self, json: &str) -> Result<(ObjectName, String), Failure> {
        let meta = Header::read(json)?.metadata;
        let name = ObjectName::of(self.cluster.id, &meta.namespace, &meta.name);
        Ok((name, meta.resource_version.into_owned()))
    }

    fn read(&self, name: &ObjectName, json: &str) -> Seen {
        let object = ObjectRef {
            kind: self.kind.kind,
            name: name.clone(),
        };
        let origin = Origin {
            object: &object,
            place: &self.cluster.place,
        };
        match (self.kind.read)(json, origin) {
            Ok(Converted::Object(event)) => Seen::Spec(*event),
            Ok(Converted::LeftAlone(why)) => Seen::LeftAlone(why),
            Err(misfit) => {
                let problem = Problem::error(misfit.message, MEND).field(misfit.field);
                Seen::Broken(problem.at(origin.place).about(object))
            }
        }
    }
}
