//! `AdmissionReview` as the API server sends it and wants it answered (admission.k8s.io/v1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use workload::template::Kind;

/// The only version that is spoken.
const API_VERSION: &str = "admission.k8s.io/v1";
/// The API server shows 256 characters of a warning, and 4096 of all of them.
const LONGEST_WARNING: usize = 250;
const MOST_WARNINGS: usize = 15;

/// What the API server sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Question {
    api_version: String,
    request: Option<Request>,
}

/// What is to be decided.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    pub(crate) uid: String,
    kind: GroupKind,
    #[serde(default)]
    pub(crate) namespace: String,
    /// The object as it would be; nothing where one is deleted.
    #[serde(default)]
    pub(crate) object: Value,
    /// The object as it is; nothing where one is made.
    #[serde(default)]
    old_object: Value,
}

#[derive(Debug, Deserialize)]
struct GroupKind {
    group: String,
    kind: String,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    /// For metrics.
    pub(crate) reason: &'static str,
    /// The same request may be admitted later.
    pub(crate) is_transient: bool,
}

/// What was decided.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) refusal: Option<Refusal>,
    /// The object as it should be instead.
    pub(crate) changed: Option<Value>,
    pub(crate) warnings: Vec<String>,
}

/// What the API server gets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Status {
    message: String,
    reason: &'static str,
    code: u16,
}

impl Question {
    /// Returns what is to be decided.
    pub(crate) fn request(self) -> Result<Request, String> {
        if self.api_version != API_VERSION {
            return Err(format!("expected an AdmissionReview of {API_VERSION}"));
        }
        let request = self.request.ok_or("the review has no request")?;
        if request.uid.is_empty() || request.uid.len() > 128 {
            return Err("the request has no uid".to_owned());
        }
        Ok(request)
    }
}

impl Request {
    /// Returns the kind, if it is one with a pod template.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::named(&self.kind.group, &self.kind.kind)
    }

    /// Returns the object as it is before the request.
    pub(crate) fn old_object(&self) -> Option<&Value> {
        self.old_object.is_object().then_some(&self.old_object)
    }
}

impl Refusal {
    /// Refuses what no later time makes right.
    pub(crate) fn invalid(message: String) -> Self {
        Self {
            message,
            reason: "Invalid",
            is_transient: false,
        }
    }
}

impl Verdict {
    /// Refuses.
    pub(crate) fn refuse(refusal: Refusal) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::default()
        }
    }

    /// Returns the answer to a request.
    pub(crate) fn answer(self, request: &Request) -> Answer {
        let status = self.refusal.map(|refusal| {
            // Kubernetes' own words for "not so" and "not now".
            let (reason, code) = match refusal.is_transient {
                false => ("Forbidden", 403),
                true => ("ServiceUnavailable", 503),
            };
            Status {
                message: one_line(&refusal.message),
                reason,
                code,
            }
        });
        let patch = self.changed.and_then(|changed| {
            let patch = json_patch::diff(&request.object, &changed);
            if patch.is_empty() {
                return None;
            }
            // It is made of texts that came as JSON, and so can be written as such.
            let text = serde_json::to_vec(&patch).ok()?;
            Some(STANDARD.encode(text))
        });
        let warnings = self.warnings.iter().take(MOST_WARNINGS);
        let warnings = warnings.map(|text| one_line(text).chars().take(LONGEST_WARNING).collect());
        Answer {
            api_version: API_VERSION,
            kind: "AdmissionReview",
            response: Response {
                uid: request.uid.clone(),
                allowed: status.is_none(),
                patch_type: patch.is_some().then_some("JSONPatch"),
                patch: patch.filter(|_| status.is_none()),
                status,
                warnings: warnings.collect(),
            },
        }
    }
}

/// A message of several lines, or with a tenant's control characters, would garble a terminal.
fn one_line(text: &str) -> String {
    let plain = |one: char| if one.is_control() { ' ' } else { one };
    text.trim().chars().map(plain).collect()
}
