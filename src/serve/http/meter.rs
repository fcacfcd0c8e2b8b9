//! Counts and times every request, by handler.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::time::Instant;
use warp::reply::Response;

/// The metrics of all routes.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    requests: IntCounterVec,
    in_flight: IntGaugeVec,
    seconds: HistogramVec,
}

impl Meter {
    /// Waits for `answer` and counts it. `handler` is one of a few names, never a path.
    pub(super) async fn observe(&self, handler: &'static str, answer: impl Future<Output = Response>) -> Response {
        let _in_flight = InFlight::begin(self.in_flight.with_label_values(&[handler]));
        let start = Instant::now();
        let response = answer.await;
        self.seconds.with_label_values(&[handler]).observe(start.elapsed().as_secs_f64());
        self.requests.with_label_values(&[handler, response.status().as_str()]).inc();
        response
    }

    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let meter = Self {
            requests: IntCounterVec::new(
                Opts::new("outlierd_http_requests_total", "Requests answered."),
                &["handler", "code"],
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new("outlierd_http_requests_in_flight", "Requests that are not answered yet."),
                &["handler"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "outlierd_http_request_duration_seconds",
                    "Time from the head of a request to the head of its answer.",
                )
                .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
                &["handler"],
            )?,
        };
        registry.register(Box::new(meter.requests.clone()))?;
        registry.register(Box::new(meter.in_flight.clone()))?;
        registry.register(Box::new(meter.seconds.clone()))?;
        Ok(meter)
    }
}

/// Counts down when the request is answered or its connection is gone.
struct InFlight(IntGauge);

impl InFlight {
    fn begin(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
