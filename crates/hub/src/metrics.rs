//! What the hub counts, for Prometheus. Labels come from closed sets only.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The kinds of addresses, few enough for a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Route {
    Environment,
    Generation,
    Live,
    History,
    Document,
    Missing,
    Revocations,
    CacheInfo,
    Narinfo,
    Listing,
    Nar,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    access: Access,
    status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Access {
    Read,
    Write,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Status {
    Success,
    NotModified,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    Refused,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Route,
}

/// All counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    /// Requests under way.
    pub(crate) in_flight: Gauge,
    /// Those of them that wait for a live pointer to move.
    waits: Gauge,
    /// Bytes of NAR files that went out.
    pub(crate) nar_served: Counter,
    /// Bytes of NAR files that came in.
    pub(crate) nar_received: Counter,
    /// Narinfo files that went out.
    pub(crate) narinfo_served: Counter,
    /// Store paths taken into a cache.
    pub(crate) paths_added: Counter,
    /// Generations published.
    pub(crate) generations: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("nival_hub");
        let requests = Family::default();
        registry.register(
            "requests",
            "Requests by kind of address and outcome",
            requests.clone(),
        );
        let histogram: fn() -> Histogram =
            || Histogram::new([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0]);
        let seconds = Family::new_with_constructor(histogram);
        let help = "Time from a request's header to its answer's";
        registry.register("request_seconds", help, seconds.clone());
        let in_flight = Gauge::default();
        registry.register(
            "requests_in_flight",
            "Requests under way",
            in_flight.clone(),
        );
        let waits = Gauge::default();
        let help = "Requests that wait for a live pointer to move";
        registry.register("waits_in_flight", help, waits.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        Self {
            nar_served: counter("nar_served_bytes", "Bytes of NAR files that went out"),
            nar_received: counter("nar_received_bytes", "Bytes of NAR files that came in"),
            narinfo_served: counter("narinfo_served", "Narinfo files that went out"),
            paths_added: counter("paths_added", "Store paths taken into a cache"),
            generations: counter("generations_published", "Generations published"),
            registry,
            requests,
            seconds,
            in_flight,
            waits,
        }
    }
}

impl Metrics {
    /// Counts a request.
    pub(crate) fn count(&self, method: &Method, path: &str, status: StatusCode, took: Duration) {
        let route = Route::of(path);
        let access = match *method {
            Method::GET | Method::HEAD => Access::Read,
            _ => Access::Write,
        };
        self.requests
            .get_or_create(&RequestLabels {
                route,
                access,
                status: Status::of(status),
            })
            .inc();
        self.seconds
            .get_or_create(&RouteLabels { route })
            .observe(took.as_secs_f64());
    }

    /// Returns the page, where so many requests wait for a live pointer to move.
    pub(crate) fn page(&self, waits: usize) -> String {
        self.waits.set(i64::try_from(waits).unwrap_or(i64::MAX));
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("a String takes every write");
        page
    }
}

impl Route {
    fn of(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let mut next = || parts.next().unwrap_or_default();
        match (next(), next(), next(), next(), next()) {
            ("cache", _, "nar", ..) => Self::Nar,
            ("cache", _, "nix-cache-info", ..) => Self::CacheInfo,
            ("cache", _, file, ..) if file.ends_with(".narinfo") => Self::Narinfo,
            ("cache", _, file, ..) if file.ends_with(".ls") => Self::Listing,
            ("v1", "owners", _, "missing", _) => Self::Missing,
            ("v1", "owners", _, "revocations", _) => Self::Revocations,
            ("v1", "environments", _, _, "generations") => Self::Generation,
            ("v1", "environments", _, _, "live") => Self::Live,
            ("v1", "environments", _, _, "history") => Self::History,
            ("v1", "environments", _, _, "documents") => Self::Document,
            ("v1", "environments", _, _, "") => Self::Environment,
            _ => Self::Other,
        }
    }
}

impl Status {
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            304 => Self::NotModified,
            200..400 => Self::Success,
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            400..500 => Self::Refused,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fall_into_few_kinds() {
        for (path, route) in [
            ("/cache/demo/nix-cache-info", Route::CacheInfo),
            ("/cache/demo/x.narinfo", Route::Narinfo),
            ("/cache/demo/nar/x.nar.zst", Route::Nar),
            ("/v1/environments", Route::Environment),
            ("/v1/environments/a/b/generations/1", Route::Generation),
            ("/v1/owners/a/missing", Route::Missing),
            ("/v1/owners/a/revocations", Route::Revocations),
            ("/../../etc/passwd", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn the_page_has_names_with_units() {
        let metrics = Metrics::default();
        metrics.nar_served.inc_by(7);
        let page = metrics.page(3);
        assert!(
            page.contains("\nnival_hub_nar_served_bytes_total 7\n"),
            "{page}"
        );
        assert!(page.contains("\nnival_hub_waits_in_flight 3\n"), "{page}");
    }
}
