//! Why a call to an API server failed, in the few classes that make a difference here.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use kube::core::Status;

/// HTTP status codes that mean something to us.
mod code {
    pub const UNAUTHORIZED: u16 = 401;
    pub const FORBIDDEN: u16 = 403;
    pub const NOT_FOUND: u16 = 404;
    pub const CONFLICT: u16 = 409;
    pub const GONE: u16 = 410;
    pub const INVALID: u16 = 422;
    pub const BAD_REQUEST: u16 = 400;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// 410: the version asked for is no longer known; only a full list helps.
    Expired,
    NotFound(String),
    Unauthorized(String),
    Forbidden(String),
    Conflict(String),
    /// 400 and 422: asking again is no use.
    Invalid(String),
    /// 429, 5xx and the rest: it may pass.
    Unavailable {
        message: String,
        after: Option<Duration>,
    },
    /// No answer at all.
    Unreachable(String),
    /// No answer within this time.
    TimedOut(Duration),
    /// An answer that is none.
    Garbled(String),
}

impl Failure {
    pub fn of_status(status: &Status) -> Failure {
        let message = || {
            let text = if status.message.is_empty() {
                &status.reason
            } else {
                &status.message
            };
            shorten(&format!("{} {text}", status.code))
        };
        match status.code {
            code::GONE => Failure::Expired,
            code::NOT_FOUND => Failure::NotFound(message()),
            code::UNAUTHORIZED => Failure::Unauthorized(message()),
            code::FORBIDDEN => Failure::Forbidden(message()),
            code::CONFLICT => Failure::Conflict(message()),
            code::INVALID | code::BAD_REQUEST => Failure::Invalid(message()),
            _ => Failure::Unavailable {
                message: message(),
                after: retry_after(status),
            },
        }
    }

    /// For how long the server asks not to be asked.
    pub fn retry_after(&self) -> Duration {
        match self {
            Failure::Unavailable { message: _, after } => after.unwrap_or_default(),
            Failure::Expired
            | Failure::NotFound(_)
            | Failure::Unauthorized(_)
            | Failure::Forbidden(_)
            | Failure::Conflict(_)
            | Failure::Invalid(_)
            | Failure::Unreachable(_)
            | Failure::TimedOut(_)
            | Failure::Garbled(_) => Duration::ZERO,
        }
    }

    /// What an operator can do about it.
    pub fn remedy(&self, verbs: &str) -> String {
        match self {
            Failure::Unauthorized(_) => "renew the credentials in the kubeconfig".to_owned(),
            Failure::Forbidden(_) => format!("let this user {verbs} (deploy/ has the RBAC rules)"),
            Failure::NotFound(_) => "install its CustomResourceDefinition (deploy/crds)".to_owned(),
            Failure::Expired
            | Failure::Conflict(_)
            | Failure::Invalid(_)
            | Failure::Unavailable { .. }
            | Failure::Garbled(_) => "look at the API server".to_owned(),
            Failure::Unreachable(_) | Failure::TimedOut(_) => {
                "look at the API server, the way to it and the server named in the kubeconfig".to_owned()
            }
        }
    }
}

fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Failure {
        if let kube::Error::Api(status) = &error {
            return Failure::of_status(status);
        }
        if matches!(&error, kube::Error::SerdeError(_) | kube::Error::FromUtf8(_)) {
            return Failure::Garbled(chain(&error));
        }
        Failure::Unreachable(chain(&error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Expired => f.write_str("410 the version is no longer known"),
            Failure::NotFound(text)
            | Failure::Unauthorized(text)
            | Failure::Forbidden(text)
            | Failure::Conflict(text)
            | Failure::Invalid(text)
            | Failure::Unreachable(text)
            | Failure::Garbled(text) => f.write_str(text),
            Failure::Unavailable { message, after: _ } => f.write_str(message),
            Failure::TimedOut(span) => write!(f, "no answer within {} s", span.as_secs_f32()),
        }
    }
}

/// The error and its causes, outermost first; what only repeats what was said is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = vec![];
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.ends_with(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    let text = shorten(&texts.join(": "));
    // kube's names for its layers.
    let layers = ["ServiceError: ", "HyperError: "];
    let bare = layers.iter().find_map(|layer| text.strip_prefix(layer));
    bare.unwrap_or(&text).to_owned()
}

/// Servers and proxies may answer with whole pages.
const LONGEST: usize = 300;

fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_classes_and_keep_the_servers_words() {
        let status = |code: u16| Status::failure("why not", "Some").with_code(code);
        assert_eq!(Failure::of_status(&status(410)), Failure::Expired);
        assert_eq!(
            Failure::of_status(&status(403)),
            Failure::Forbidden("403 why not".to_owned())
        );
        let unavailable = Failure::Unavailable {
            message: "503 why not".to_owned(),
            after: None,
        };
        assert_eq!(Failure::of_status(&status(503)), unavailable);
    }

    #[test]
    fn a_page_of_html_is_cut_to_a_line() {
        let status = Status::failure(&"<p>\n no ".repeat(1000), "Some").with_code(502);
        let text = Failure::of_status(&status).to_string();
        assert!(text.len() <= LONGEST + 3, "{}", text.len());
        assert!(!text.contains('\n'));
    }

    #[test]
    fn causes_are_told_once() {
        let cause = std::io::Error::other("Connection refused");
        let error = kube::Error::Service(Box::new(cause));
        assert_eq!(chain(&error), "Connection refused");
    }
}
